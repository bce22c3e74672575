"""A whole call through the front door: HTTP to the gateway, streams to the runner, sound back and forth."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from services.gateway.events.told import STATE_TYPES
from shared.contract import Running
from tests.conftest import StartFleet
from tests.gateway.sse_client import listening
from tests.processes import Fleet
from tests.speech import speech
from tests.waiting import until
from tests.webrtc_peer import EARPHONE_RATE_HZ, CallEndedError, WebRTCPeer

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


async def test_a_caller_is_greeted_answered_and_hangs_up_and_all_of_it_is_told(fleet_of: StartFleet) -> None:
    async with fleet_of(bot=ASSISTANT, slots=1, EVENTS_TRANSCRIPTS="1") as fleet:
        started = await fleet.http.post("/start", json={"transport": "webrtc"})
        session_id = started.json()["sessionId"]
        async with listening(fleet.http, f"/sessions/{session_id}/events") as listener:
            async with caller(fleet, session_id) as peer:
                await peer.wait_for_sound()
                await fleet.event(session_id, Running)
                await peer.wait_for_silence()
                peer.speak(speech("Thank you very much."))
                await peer.wait_until_spoken()
                await peer.wait_for_sound()
                await peer.wait_for_silence()
            told = await listener.rest()
        session = await over(fleet, session_id)
    assert (session["status"], session["reason"]) == ("ended", "completed")
    assert [event["type"] for event in session["timeline"]] == ["queued", "starting", "running", "ended"]
    kinds = [one.type for one in told]
    assert [kind for kind in kinds if kind in STATE_TYPES] == ["queued", "starting", "running", "ended"]
    assert kinds[-2:] == ["ended", "end"]
    ids = {one.data["participant_id"] for one in told if one.type.startswith("participant")}
    assert len(ids) == 1
    assert kinds.count("participant_joined") == kinds.count("participant_left") == 1
    speech_told = [f"{one.data['who']} {one.data['what']}" for one in told if one.type == "speaking"]
    assert speech_told[:4] == ["bot started", "bot stopped", "user started", "user stopped"]
    assert "bot started" in speech_told[4:]
    said = [one.data["text"] for one in told if one.type == "transcript" and one.data["who"] == "bot"]
    assert said[0].startswith("Hello, I am Pipefleet's assistant.")
    measured = [one.data["values"] for one in told if one.type == "metrics"]
    assert any("ttfb_s" in values for values in measured)
    assert any(0 < values.get("latency_s", 0) < 10 for values in measured)
    assert sum(values.get("characters", 0) for values in measured) >= len(said[0])


async def test_what_is_said_through_admin_is_heard_and_leave_ends_the_call(fleet_of: StartFleet) -> None:
    async with fleet_of(bot=ASSISTANT, slots=1) as fleet:
        joined = await fleet.join(transport="webrtc")
        async with caller(fleet, joined["session_id"]) as peer:
            await peer.wait_for_sound()
            await peer.wait_for_silence()
            said = await fleet.http.post(
                "/admin", json={"session_id": joined["session_id"], "type": "say", "text": "All aboard.", "wait": 20}
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


async def command(fleet: Fleet, session_id: str, **body: Any) -> None:
    """Send it, and see it delivered."""
    answer = await fleet.http.post("/admin", json={"session_id": session_id, "wait": 20, **body})
    assert (answer.status_code, answer.json().get("outcome")) == (200, "delivered"), answer.text


async def test_a_caller_hears_what_commands_do_to_the_bot(fleet_of: StartFleet) -> None:
    long = "One two three four five six seven eight nine ten. " * 20
    async with fleet_of(bot=ASSISTANT, slots=1) as fleet:
        joined = await fleet.join(transport="webrtc", body={"greeting": "Hi."})
        send = partial(command, fleet, joined["session_id"])
        async with caller(fleet, joined["session_id"]) as peer:
            await peer.wait_for_sound()
            await peer.wait_for_silence()

            await send(message="The user has paid.", mode="immediate")
            await peer.wait_for_sound()
            await peer.wait_for_silence()

            await send(type="say", text=long)
            await peer.wait_for_sound()
            await send(type="interrupt")
            await peer.wait_for_silence(timeout_s=10)

            await send(type="mute")
            await send(type="say", text="Nobody hears this.")
            heard = len(peer.heard)
            with pytest.raises(TimeoutError):
                await peer.wait_for_sound(timeout_s=1.5)
            assert len(peer.heard) > heard, "the call went on"
            await send(type="unmute")
            await send(type="say", text="This is heard again.")
            await peer.wait_for_sound()
            await peer.wait_for_silence()

            begin = len(peer.heard)
            await send(type="dtmf", digits="1")
            await peer.wait_for_sound()
            await peer.wait_for_silence()
            assert strongest_hz(peer.heard[begin:]) == pytest.approx([697, 1209], abs=15)

            await send(type="app_message", data={"show": [1, None]})
            await until(lambda: any('"server-message"' in message for message in peer.messages))
    [told] = [json.loads(message) for message in peer.messages if '"server-message"' in message]
    assert told == {"label": "rtvi-ai", "type": "server-message", "data": {"show": [1, None]}}


@pytest.mark.slow
async def test_another_voice_sounds_otherwise(fleet_of: StartFleet) -> None:
    async with fleet_of(bot=ASSISTANT, slots=1) as fleet:
        joined = await fleet.join(transport="webrtc", body={"greeting": "Hi."})
        send = partial(command, fleet, joined["session_id"])
        pitches = []
        async with caller(fleet, joined["session_id"]) as peer:
            await peer.wait_for_sound()
            await peer.wait_for_silence()
            for voice in ("m1", "f5"):
                await send(type="update", tts={"voice": voice})
                begin = len(peer.heard)
                await send(type="say", text="Are you all aware now?")
                await peer.wait_for_sound()
                await peer.wait_for_silence()
                pitches.append(pitch_hz(peer.heard[begin:]))
    assert pitches[1] > pitches[0] * 1.2, pitches


def strongest_hz(heard: Sequence[int]) -> list[float]:
    """The two strongest tones, below and above 1 kHz."""
    spectrum = np.abs(np.fft.rfft(np.asarray(heard, dtype=np.float64)))
    tones = np.fft.rfftfreq(len(heard), 1 / EARPHONE_RATE_HZ)
    return [float(tones[np.argmax(np.where(where, spectrum, 0))]) for where in (tones < 1000, tones >= 1000)]


def pitch_hz(heard: Sequence[int]) -> float:
    """Of a voice: the median over its louder moments."""
    samples = np.asarray(heard, dtype=np.float64)
    size = EARPHONE_RATE_HZ // 20
    pitches = []
    for start in range(0, len(samples) - size, size):
        piece = samples[start : start + size]
        if np.sqrt(np.mean(piece**2)) > 500:
            likeness = np.correlate(piece, piece, "full")[size - 1 :]
            shortest, longest = EARPHONE_RATE_HZ // 400, EARPHONE_RATE_HZ // 60
            pitches.append(EARPHONE_RATE_HZ / (shortest + int(np.argmax(likeness[shortest:longest]))))
    return float(np.median(pitches))
