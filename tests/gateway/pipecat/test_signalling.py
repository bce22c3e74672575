import asyncio
import json
from typing import Any

import pytest

from shared.contract import Candidates, IceCandidate, Offer, Outcome, Reason
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.stand_in_runner import StandInRunner

OFFER = {"sdp": "v=0 offer", "type": "offer"}
ANSWER = {"sdp": "v=0 answer", "type": "answer", "pc_id": "pc-1"}


async def webrtc_session(gateway: Gateway) -> str:
    joined = await gateway.join(transport="webrtc")
    return f"/sessions/{joined['session_id']}/api/offer"


@pytest.mark.parametrize("spelling", ["request_data", "requestData"])
async def test_an_offer_is_answered_by_the_bot(gateway: Gateway, runner: StandInRunner, spelling: str) -> None:
    path = await webrtc_session(gateway)
    body = {**OFFER, "pc_id": None, "restart_pc": False, spelling: {"a": 1}, "new_in_pipecat_9": True}
    asked = asyncio.create_task(gateway.http.post(path, json=body))
    claim = await runner.starting()
    entry, command = await runner.command(claim)
    assert isinstance(command, Offer)
    assert command == Offer(
        command_id=command.command_id,
        reply_to=gateway.parts.replies.gateway_id,
        sdp="v=0 offer",
        sdp_type="offer",
        request_data={"a": 1},
    )
    await runner.reply(claim, entry, command, Outcome.DELIVERED, result=ANSWER)
    answer = await asked
    assert (answer.status_code, answer.json()) == (200, ANSWER)


@pytest.mark.parametrize(
    "candidate",
    [
        {"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 1, "usernameFragment": "x"},
        {"candidate": "candidate:1", "sdp_mid": "0", "sdp_mline_index": 1},
    ],
)
async def test_candidates_reach_the_bot_in_either_spelling(
    gateway: Gateway, runner: StandInRunner, candidate: dict[str, Any]
) -> None:
    path = await webrtc_session(gateway)
    claim = await runner.starting()
    body = {"pc_id": "pc-1", "candidates": [candidate]}
    asked = asyncio.create_task(gateway.http.patch(path, json=body))
    entry, command = await runner.command(claim)
    assert isinstance(command, Candidates)
    assert command.candidates == (IceCandidate(candidate="candidate:1", sdp_mid="0", sdp_m_line_index=1),)
    await runner.reply(claim, entry, command, Outcome.DELIVERED)
    answer = await asked
    assert (answer.status_code, answer.json()) == (200, {"status": "success"})


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNHANDLED])
async def test_a_bot_that_refuses_is_a_conflict_with_its_words(
    gateway: Gateway, runner: StandInRunner, outcome: Outcome
) -> None:
    path = await webrtc_session(gateway)
    claim = await runner.starting()
    asked = asyncio.create_task(gateway.http.post(path, json=OFFER))
    entry, command = await runner.command(claim)
    await runner.reply(claim, entry, command, outcome, message="one client is enough")
    answer = await asked
    assert (answer.status_code, answer.json()["code"]) == (409, "REFUSED")
    assert answer.json()["error"] == "one client is enough"


async def test_a_bot_that_says_nothing_is_a_timeout(gateway_with: StartGateway, runner: StandInRunner) -> None:
    async with gateway_with(join_timeout_s=0.05) as gateway:
        answer = await gateway.http.post(await webrtc_session(gateway), json=OFFER)
    assert (answer.status_code, answer.json()["code"]) == (504, "NO_ANSWER")


async def test_an_answer_that_is_none_is_the_bots_fault(gateway: Gateway, runner: StandInRunner) -> None:
    path = await webrtc_session(gateway)
    claim = await runner.starting()
    asked = asyncio.create_task(gateway.http.post(path, json=OFFER))
    entry, command = await runner.command(claim)
    await runner.reply(claim, entry, command, Outcome.DELIVERED, result={"sdp": 1})
    assert (await asked).status_code == 502


async def test_a_session_that_ends_while_a_client_waits_answers_at_once_with_the_reason(
    gateway: Gateway, runner: StandInRunner
) -> None:
    path = await webrtc_session(gateway)
    claim = await runner.starting()
    asked = asyncio.create_task(gateway.http.post(path, json=OFFER))
    await runner.command(claim)
    await runner.fail(claim, Reason.BOT_IMPORT_ERROR, "ImportError: no module")
    answer = await asyncio.wait_for(asked, 10)
    assert answer.status_code == 409
    assert answer.json()["error"] == "The session is over: bot_import_error: ImportError: no module"


async def test_a_session_that_is_withdrawn_while_a_client_waits_answers_at_once(gateway: Gateway) -> None:
    path = await webrtc_session(gateway)
    asked = asyncio.create_task(gateway.http.post(path, json=OFFER))
    while not gateway.parts.replies._waiting:
        await asyncio.sleep(0)
    await gateway.http.delete(path.removesuffix("/api/offer"))
    answer = await asyncio.wait_for(asked, 10)
    assert answer.status_code in {404, 409}
    assert "over" in answer.json()["error"]


async def test_an_offer_outlives_the_attempt_that_it_was_made_to(gateway: Gateway, runner: StandInRunner) -> None:
    path = await webrtc_session(gateway)
    asked = asyncio.create_task(gateway.http.post(path, json=OFFER))
    claim = await runner.starting()
    await runner.command(claim)
    runner.inbox.close(claim.launch.session_id)
    await runner.lose(claim, Reason.BOT_DIED)
    claim = await runner.starting()
    entry, command = await runner.command(claim)
    await runner.reply(claim, entry, command, Outcome.DELIVERED, result=ANSWER)
    assert (await asked).json() == ANSWER


async def test_signalling_needs_a_live_webrtc_session(gateway: Gateway, runner: StandInRunner) -> None:
    joined = await gateway.join(transport="none")
    other = f"/sessions/{joined['session_id']}/api/offer"
    answer = await gateway.http.post(other, json=OFFER)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_BODY")
    await runner.end(await runner.running(), Reason.COMPLETED)
    for path in (other, "/sessions/nobody/api/offer"):
        posted = await gateway.http.post(path, json=OFFER)
        patched = await gateway.http.patch(path, json={"pc_id": "x", "candidates": []})
        assert {posted.status_code, patched.status_code} == {404}


@pytest.mark.parametrize(
    ("method", "body", "field"),
    [
        ("POST", {"type": "offer"}, "sdp"),
        ("POST", {"sdp": "", "type": "offer"}, "sdp"),
        ("POST", {"sdp": "v=0"}, "type"),
        ("POST", {**OFFER, "requestData": json.loads("[" * 65 + "]" * 65)}, "request_data"),
        ("PATCH", {"candidates": []}, "pc_id"),
        ("PATCH", {"pc_id": "x"}, "candidates"),
        ("PATCH", {"pc_id": "x", "candidates": [{"sdpMid": "0"}]}, "candidate"),
        (
            "PATCH",
            {"pc_id": "x", "candidates": [{"candidate": "x", "sdpMLineIndex": "a"}]},
            "candidates[0].sdpMLineIndex",
        ),
    ],
)
async def test_a_bad_field_is_named(gateway: Gateway, method: str, body: dict[str, Any], field: str) -> None:
    answer = await gateway.http.request(method, "/sessions/x/api/offer", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(field)
