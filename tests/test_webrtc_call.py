"""A whole call through the front door: HTTP to the gateway, streams to the runner, sound back and forth."""

from collections.abc import Mapping
from typing import Any

import pytest

from shared.contract import Running
from tests.conftest import StartFleet
from tests.processes import Fleet
from tests.speech import speech
from tests.webrtc_peer import CallEndedError, WebRTCPeer

ASSISTANT = "services.runner.bots.assistant"


def caller(fleet: Fleet, session_id: str) -> WebRTCPeer:
    """Someone who calls the session's bot through the gateway."""

    async def signal(offer: Mapping[str, str]) -> Mapping[str, str]:
        answer = await fleet.http.post(f"/sessions/{session_id}/api/offer", json=dict(offer))
        assert answer.status_code == 200, answer.text
        told: dict[str, str] = answer.json()
        return told

    return WebRTCPeer(signal)


async def over(fleet: Fleet, session_id: str) -> dict[str, Any]:
    """The session, once it is over."""
    for kind in ("ended", "failed"):
        await fleet.until_status(session_id, kind, "ended", "failed")
    return await fleet.session(session_id)


async def test_a_caller_is_greeted_answered_and_hangs_up(fleet_of: StartFleet) -> None:
    async with fleet_of(bot=ASSISTANT, slots=1) as fleet:
        started = await fleet.http.post("/start", json={"transport": "webrtc"})
        session_id = started.json()["sessionId"]
        async with caller(fleet, session_id) as peer:
            await peer.wait_for_sound()
            await fleet.event(session_id, Running)
            await peer.wait_for_silence()
            peer.speak(speech("Thank you very much."))
            await peer.wait_until_spoken()
            await peer.wait_for_sound()
            await peer.wait_for_silence()
        session = await over(fleet, session_id)
    assert (session["status"], session["reason"]) == ("ended", "completed")
    assert [event["type"] for event in session["timeline"]] == ["queued", "starting", "running", "ended"]


async def test_what_is_said_through_admin_is_heard_and_leave_ends_the_call(fleet_of: StartFleet) -> None:
    async with fleet_of(bot=ASSISTANT, slots=1) as fleet:
        joined = await fleet.join(transport="webrtc")
        async with caller(fleet, joined["session_id"]) as peer:
            await peer.wait_for_sound()
            await peer.wait_for_silence()
            said = await fleet.http.post(
                "/admin", json={"session_id": joined["session_id"], "type": "say", "text": "All aboard.", "wait": 5}
            )
            assert (said.status_code, said.json()["outcome"]) == (200, "delivered")
            await peer.wait_for_sound()
            await peer.wait_for_silence()
            left = await fleet.http.post("/leave", json={"room_url": joined["room_url"]})
            assert left.status_code == 202
            await peer.wait_for_end()
        session = await over(fleet, joined["session_id"])
    assert any("All aboard." in message for message in peer.messages)
    assert (session["status"], session["reason"]) == ("ended", "left")


async def test_a_call_that_the_assistant_cannot_be_fails_at_once_and_says_why(fleet_of: StartFleet) -> None:
    async with fleet_of(bot=ASSISTANT, slots=1) as fleet:
        joined = await fleet.join(transport="webrtc", persona="chef")
        async with caller(fleet, joined["session_id"]):
            session = await over(fleet, joined["session_id"])
    assert (session["status"], session["reason"], session["attempt"]) == ("failed", "bot_error", 1)
    assert session["message"] == "There is no persona 'chef'. There are: none: PERSONAS_DIR is not set, or empty."


async def test_a_second_client_of_one_session_is_refused(fleet_of: StartFleet) -> None:
    async with fleet_of(bot=ASSISTANT, slots=1) as fleet:
        joined = await fleet.join(transport="webrtc")
        async with caller(fleet, joined["session_id"]) as first:
            await first.wait_for_sound()
            second = WebRTCPeer(first._signal_offer)
            offer = await second.create_offer()
            refused = await fleet.http.post(f"/sessions/{joined['session_id']}/api/offer", json=offer)
            await second.hang_up()
            assert refused.status_code == 409
            assert "has a WebRTC client already" in refused.json()["message"]


async def test_a_bot_that_dies_in_a_call_can_be_called_again_in_the_same_session(fleet_of: StartFleet) -> None:
    async with fleet_of(bot=ASSISTANT, slots=2) as fleet:
        joined = await fleet.join(transport="webrtc")
        session_id = joined["session_id"]
        async with caller(fleet, session_id) as peer:
            await peer.wait_for_sound()
            fleet.kill_bots()
            with pytest.raises((CallEndedError, TimeoutError)):
                await peer.wait_for_silence(lasting_s=60, timeout_s=0.5)
        async with caller(fleet, session_id) as peer:
            await peer.wait_for_sound()
            await fleet.event(session_id, Running, attempt=2)
