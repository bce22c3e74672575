import asyncio
from typing import Any

import pytest

from shared.contract import Leave, Message, Outcome, Reason, Say
from tests.gateway.conftest import Gateway
from tests.gateway.stand_in_runner import StandInRunner


async def test_the_originals_body_works_as_it_is(gateway: Gateway, runner: StandInRunner) -> None:
    joined = await gateway.join()
    claim = await runner.running()
    body = {
        "room_url": joined["room_url"] + "/",
        "message": "The user has paid.",
        "mode": "immediate",
        "sender_id": "crm",
        "sender_name": "CRM",
        "timestamp": 1700000000,
    }
    answer = await gateway.http.post("/admin", json=body)
    reply = answer.json()
    assert answer.status_code == 202
    assert reply == {
        "status": "ok",
        "id": reply["id"],
        "session_id": joined["session_id"],
        "room_url": joined["room_url"],
    }
    _, command = await runner.command(claim)
    assert command == Message(
        command_id=reply["id"], text="The user has paid.", mode="immediate", sender_id="crm", sender_name="CRM"
    )


@pytest.mark.parametrize("field", ["text", "message"])
async def test_say_speaks_a_text_under_either_name(gateway: Gateway, runner: StandInRunner, field: str) -> None:
    session_id = (await gateway.join())["session_id"]
    claim = await runner.running()
    answer = await gateway.http.post("/admin", json={"session_id": session_id, "type": "say", field: "Hello."})
    assert (await runner.command(claim))[1] == Say(command_id=answer.json()["id"], text="Hello.")


async def test_a_command_to_a_session_that_still_waits_reaches_its_bot_later_and_in_order(
    gateway: Gateway, runner: StandInRunner
) -> None:
    session_id = (await gateway.join())["session_id"]
    for text in ("one", "two"):
        answer = await gateway.http.post("/admin", json={"session_id": session_id, "type": "say", "text": text})
        assert answer.status_code == 202
    claim = await runner.running()
    entry, first = await runner.command(claim)
    await runner.reply(claim, entry, first, Outcome.DELIVERED)
    assert isinstance(first, Say)
    assert first.text == "one"


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_waiting_gives_what_became_of_the_command(
    gateway: Gateway, runner: StandInRunner, outcome: Outcome
) -> None:
    session_id = (await gateway.join())["session_id"]
    claim = await runner.running()
    body = {"session_id": session_id, "type": "say", "text": "Hello.", "wait": 30}
    asked = asyncio.create_task(gateway.http.post("/admin", json=body))
    entry, command = await runner.command(claim)
    await runner.reply(claim, entry, command, outcome, message="so it is")
    answer = await asked
    assert answer.status_code == 200
    assert (answer.json()["outcome"], answer.json()["message"]) == (outcome, "so it is")


async def test_waiting_in_vain_is_answered_as_accepted(gateway: Gateway, runner: StandInRunner) -> None:
    session_id = (await gateway.join())["session_id"]
    await runner.running()
    answer = await gateway.http.post("/admin", json={"session_id": session_id, "message": "x", "wait": 0.05})
    assert answer.status_code == 202
    assert "outcome" not in answer.json()


async def test_a_reply_after_the_caller_gave_up_is_dropped(gateway: Gateway, runner: StandInRunner) -> None:
    session_id = (await gateway.join())["session_id"]
    claim = await runner.running()
    late = {"session_id": session_id, "message": "late", "wait": 0.05}
    assert (await gateway.http.post("/admin", json=late)).status_code == 202
    entry, command = await runner.command(claim)
    await runner.reply(claim, entry, command, Outcome.DELIVERED, message="late")
    asked = asyncio.create_task(gateway.http.post("/admin", json={**late, "message": "next", "wait": 30}))
    entry, command = await runner.command(claim)
    await runner.reply(claim, entry, command, Outcome.DELIVERED, message="in time")
    assert (await asked).json()["message"] == "in time"


async def test_a_session_that_ends_while_one_waits_is_a_failed_command_with_the_reason(
    gateway: Gateway, runner: StandInRunner
) -> None:
    session_id = (await gateway.join())["session_id"]
    claim = await runner.running()
    asked = asyncio.create_task(
        gateway.http.post("/admin", json={"session_id": session_id, "message": "x", "wait": 60})
    )
    await runner.command(claim)
    await runner.fail(claim, Reason.BOT_ERROR, "ValueError: no")
    answer = await asyncio.wait_for(asked, 10)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "failed")
    assert answer.json()["message"] == "The session is over: bot_error: ValueError: no"


async def test_leave_waits_for_its_reply_although_the_session_ends_with_it(
    gateway: Gateway, runner: StandInRunner
) -> None:
    session_id = (await gateway.join())["session_id"]
    claim = await runner.running()
    asked = asyncio.create_task(
        gateway.http.post("/admin", json={"session_id": session_id, "type": "leave", "wait": 30})
    )
    entry, command = await runner.command(claim)
    assert isinstance(command, Leave)
    await runner.reply(claim, entry, command, Outcome.DELIVERED)
    await runner.end(claim, Reason.LEFT)
    assert (await asked).json()["outcome"] == "delivered"


@pytest.mark.parametrize(("wait", "status"), [(0, 202), (5, 200)])
async def test_leave_withdraws_a_session_that_nobody_has(gateway: Gateway, wait: float, status: int) -> None:
    session_id = (await gateway.join())["session_id"]
    answer = await gateway.http.post("/admin", json={"session_id": session_id, "type": "leave", "wait": wait})
    assert answer.status_code == status
    assert answer.json().get("outcome") == ("delivered" if wait else None)
    assert (await gateway.session(session_id))["reason"] == "left"


async def test_a_command_to_nobody_is_not_found(gateway: Gateway, runner: StandInRunner) -> None:
    session_id = (await gateway.join())["session_id"]
    await runner.end(await runner.running(), Reason.COMPLETED)
    for target in ({"session_id": session_id}, {"session_id": "x"}, {"room_url": "https://example.daily.co/none"}):
        answer = await gateway.http.post("/admin", json={**target, "message": "x"})
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "session_id: either this or room_url must be given, and message for type message"),
        ({"type": "say"}, "session_id: either this or room_url must be given, and text for type say"),
        ({"type": "leave"}, "session_id: either this or room_url must be given"),
        ({"session_id": "a"}, "message: must be given for type message"),
        ({"session_id": "a", "type": "dance"}, "type: must be one of say, message, leave"),
        ({"session_id": "a", "message": "x", "mode": "later"}, "mode: must be one of queued, immediate"),
    ],
)
async def test_what_is_missing_is_said_as_a_whole(gateway: Gateway, body: dict[str, Any], sentence: str) -> None:
    answer = await gateway.http.post("/admin", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, sentence)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"message": "x"}, "session_id"),
        ({"session_id": "a", "room_url": "https://a.daily.co/b", "message": "x"}, "session_id"),
        ({"room_url": "b", "message": "x"}, "room_url"),
        ({"session_id": "a"}, "message"),
        ({"session_id": "a", "type": "say"}, "text"),
        ({"session_id": "a", "text": "x", "message": "y"}, "message"),
        ({"session_id": "a", "message": ""}, "message"),
        ({"session_id": "a", "type": "dance", "message": "x"}, "type"),
        ({"session_id": "a", "mode": "later", "message": "x"}, "mode"),
        ({"session_id": "a", "wait": 61, "message": "x"}, "wait"),
        ({"session_id": "a", "sender_id": 7, "message": "x"}, "sender_id"),
        ({"session_id": "a", "to": "all", "message": "x"}, "to"),
    ],
)
async def test_a_bad_field_is_named(gateway: Gateway, body: dict[str, Any], field: str) -> None:
    answer = await gateway.http.post("/admin", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_BODY")
    assert answer.json()["error"].startswith(f"{field}: ")
