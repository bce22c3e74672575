import asyncio
import json
import re
from typing import Any, get_args

import msgspec
import pytest

from pipefleet.command_line import KINDS
from services.gateway.commands.admin_requests import ONE_OF_THREE, Kind
from services.gateway.pages.console_page import FOLDER
from shared.contract import (
    FIELD,
    UNDONE_COMMANDS,
    AnyCommand,
    AppMessage,
    CommandReason,
    Custom,
    Dtmf,
    Interrupt,
    Leave,
    LlmChange,
    Message,
    Mute,
    Outcome,
    Reason,
    Say,
    SttChange,
    TtsChange,
    Unmute,
    Update,
    commands_key,
    room_key,
)
from tests.gateway.conftest import Gateway
from tests.gateway.stand_in_runner import StandInRunner
from tests.waiting import until


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
        ({}, f"session_id: {ONE_OF_THREE}; and message for type message"),
        ({"type": "say"}, f"session_id: {ONE_OF_THREE}; and text for type say"),
        ({"type": "leave"}, f"session_id: {ONE_OF_THREE}"),
        ({"all": True, "room_url": "https://a.daily.co/b", "message": "x"}, f"session_id: {ONE_OF_THREE}"),
        ({"all": True, "type": "update"}, "tts: must be given for type update"),
        ({"session_id": "a", "type": "update", "tts": {}}, "tts: has no setting; there are model, voice, language"),
        ({"session_id": "a", "type": "update", "tts": {"voise": "x"}}, "tts: voise: there is no such field"),
        ({"session_id": "a", "type": "custom"}, "data: must be given for type custom"),
        ({"session_id": "a", "type": "mute", "mode": "immediate"}, "mode: is not for type mute"),
        ({"session_id": "a", "type": "say", "text": "x", "data": None}, "data: is not for type say"),
        ({"session_id": "a", "message": "x", "labels": {}}, "labels: can only be given together with all"),
        ({"session_id": "a"}, "message: must be given for type message"),
        ({"session_id": "a", "type": "dance"}, f"type: must be one of {', '.join(get_args(Kind))}"),
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
        ({"session_id": "a", "type": "dtmf"}, "digits"),
        ({"session_id": "a", "type": "dtmf", "digits": "12A"}, "digits"),
        ({"session_id": "a", "type": "dtmf", "digits": "1", "text": "x"}, "text"),
        ({"session_id": "a", "type": "app_message"}, "data"),
        ({"session_id": "a", "type": "update", "llm": {"temperature": 1}}, "llm: temperature"),
        ({"session_id": "a", "type": "leave", "message": "x"}, "message"),
        ({"session_id": "a", "message": "x", "expires_s": 0}, "expires_s"),
        ({"session_id": "a", "type": "custom", "data": json.loads("[" * 65 + "]" * 65)}, "data"),
    ],
)
async def test_a_bad_field_is_named(gateway: Gateway, body: dict[str, Any], field: str) -> None:
    answer = await gateway.http.post("/admin", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_BODY")
    assert answer.json()["error"].startswith(f"{field}: ")


async def test_keys_that_no_telephone_has_are_complained_of_in_words(gateway: Gateway) -> None:
    """The answer was a regular expression."""
    answer = await gateway.http.post("/admin", json={"session_id": "a", "type": "dtmf", "digits": "12A"})
    assert answer.json()["error"] == "digits: must be keys of a telephone: 0 to 9, * and #"


def test_the_command_line_and_the_console_have_every_kind() -> None:
    offered = (FOLDER / "index.html").read_text().partition('<select name="type">')[2].partition("</select>")[0]
    assert get_args(Kind) == KINDS == tuple(re.findall(r'<option value="(\w+)">', offered))


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"type": "interrupt"}, Interrupt(command_id="")),
        ({"type": "mute"}, Mute(command_id="")),
        ({"type": "unmute"}, Unmute(command_id="")),
        (
            {"type": "update", "llm": {"model": "m", "system_instruction": "s"}, "stt": {"language": "de"}},
            Update(command_id="", llm=LlmChange(model="m", system_instruction="s"), stt=SttChange(language="de")),
        ),
        ({"type": "update", "tts": {"voice": "f3"}}, Update(command_id="", tts=TtsChange(voice="f3"))),
        ({"type": "app_message", "data": None}, AppMessage(command_id="", data=None)),
        ({"type": "custom", "data": {"a": [1]}, "expires_s": 5}, Custom(command_id="", data={"a": [1]}, expires_s=5)),
        ({"type": "dtmf", "digits": "0*#"}, Dtmf(command_id="", digits="0*#")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, msgspec.Struct) else "",
)
async def test_each_kind_reaches_the_bot_as_it_was_asked_for(
    gateway: Gateway, runner: StandInRunner, body: dict[str, Any], wanted: AnyCommand
) -> None:
    joined = await gateway.join()
    claim = await runner.running()
    answer = await gateway.http.post("/admin", json={"room_url": joined["room_url"], **body})
    assert answer.status_code == 202, answer.text
    _, command = await runner.command(claim)
    assert command == msgspec.structs.replace(wanted, command_id=answer.json()["id"])


async def test_a_fate_is_in_the_sessions_timeline_without_what_was_said(
    gateway: Gateway, runner: StandInRunner
) -> None:
    session_id = (await gateway.join())["session_id"]
    claim = await runner.running()
    sent = await gateway.http.post("/admin", json={"session_id": session_id, "type": "say", "text": "a secret"})
    entry, command = await runner.command(claim)
    await runner.reply(claim, entry, command, Outcome.DELIVERED)
    session = await gateway.session(session_id)
    fate = session["timeline"][-1]
    assert (fate["type"], fate["kind"], fate["outcome"]) == ("command", "say", "delivered")
    assert (fate["command_id"], fate["reason"]) == (sent.json()["id"], None)
    assert "secret" not in str(session)
    assert session["status"] == "running"


async def test_too_many_undone_commands_are_refused_with_a_sentence(gateway: Gateway, runner: StandInRunner) -> None:
    session_id = (await gateway.join())["session_id"]
    stream = commands_key(session_id)
    async with gateway.parts.redis.pipeline(transaction=False) as pipe:
        for _ in range(UNDONE_COMMANDS):
            pipe.xadd(stream, {FIELD: "{}"})
        await pipe.execute()
    answer = await gateway.http.post("/admin", json={"session_id": session_id, "message": "x"})
    assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_COMMANDS")
    assert answer.headers["retry-after"]
    assert answer.json()["error"] == "1000 commands to this session, or 8 MB of them, have not been delivered yet."


async def test_a_command_that_a_session_has_not_had_when_it_ends_is_told_to_who_waits(
    gateway: Gateway, runner: StandInRunner
) -> None:
    session_id = (await gateway.join())["session_id"]
    body = {"session_id": session_id, "type": "custom", "data": 1, "wait": 30}
    asked = asyncio.create_task(gateway.http.post("/admin", json=body))
    await until(lambda: gateway.parts.redis.xlen(commands_key(session_id)))
    assert (await gateway.http.delete(f"/sessions/{session_id}")).status_code == 202
    answer = (await asked).json()
    assert (answer["outcome"], answer["reason"]) == ("failed", CommandReason.SESSION_OVER)
    assert answer["message"] == "The session is over: left"


# to all


async def test_a_command_to_all_reaches_every_live_session_and_the_answer_names_each(
    gateway: Gateway, runner: StandInRunner
) -> None:
    over = await gateway.join()
    await runner.end(await runner.running(), Reason.COMPLETED)
    joined = [await gateway.join(labels={"team": team, "n": str(n)}) for n, team in enumerate("aab")]
    answer = await gateway.http.post("/admin", json={"all": True, "type": "custom", "data": {"x": 1}})
    assert answer.status_code == 207
    commands = answer.json()["commands"]
    assert {one["session_id"]: one["room_url"] for one in commands} == {
        one["session_id"]: one["room_url"] for one in joined
    }
    assert over["session_id"] not in str(commands)
    assert len({one["id"] for one in commands}) == 3
    assert {one["status"] for one in commands} == {"ok"}
    claim = await runner.running()
    ids = {one["session_id"]: one["id"] for one in commands}
    assert (await runner.command(claim))[1] == Custom(command_id=ids[claim.launch.session_id], data={"x": 1})


async def test_labels_choose_among_all_and_all_of_them_must_match(gateway: Gateway) -> None:
    joined = [await gateway.join(labels={"team": team, "n": str(n)}) for n, team in enumerate("aab")]

    async def chosen(**labels: str) -> set[str]:
        answer = await gateway.http.post("/admin", json={"all": True, "labels": labels, "message": "x"})
        return {one["session_id"] for one in answer.json()["commands"]}

    ids = [one["session_id"] for one in joined]
    assert await chosen(team="a") == {ids[0], ids[1]}
    assert await chosen(team="a", n="1") == {ids[1]}
    assert await chosen(team="b", n="1") == set()
    assert await chosen() == set(ids)


async def test_all_are_waited_for_side_by_side_and_whoever_is_silent_holds_up_nobody(
    gateway: Gateway, runner: StandInRunner
) -> None:
    for _ in range(3):
        await gateway.join()
    claims = [await runner.running() for _ in range(3)]
    body = {"all": True, "type": "say", "text": "x", "wait": 2.0}
    asked = asyncio.create_task(gateway.http.post("/admin", json=body))
    for claim, outcome in zip(claims, [Outcome.DELIVERED, Outcome.UNHANDLED], strict=False):
        entry, command = await runner.command(claim)
        await runner.reply(claim, entry, command, outcome, message="so")
    answer = {one["session_id"]: one.get("outcome") for one in (await asked).json()["commands"]}
    assert [answer[claim.launch.session_id] for claim in claims] == ["delivered", "unhandled", None]


async def test_of_all_who_cannot_be_reached_each_is_told_why(gateway: Gateway) -> None:
    full, fine = await gateway.join(), await gateway.join()
    async with gateway.parts.redis.pipeline(transaction=False) as pipe:
        for _ in range(UNDONE_COMMANDS):
            pipe.xadd(commands_key(full["session_id"]), {FIELD: "{}"})
        await pipe.execute()
    gone = await gateway.join()
    await gateway.parts.redis.delete(room_key(gone["room_url"]))
    answer = await gateway.http.post("/admin", json={"all": True, "message": "x"})
    said = {one["session_id"]: (one["status"], one.get("code")) for one in answer.json()["commands"]}
    assert said == {
        full["session_id"]: ("refused", "TOO_MANY_COMMANDS"),
        fine["session_id"]: ("ok", None),
        gone["session_id"]: ("refused", "NOT_FOUND"),
    }


async def test_leave_to_all_withdraws_who_waits_and_tells_who_runs(gateway: Gateway, runner: StandInRunner) -> None:
    running, waiting = await gateway.join(), await gateway.join()
    claim = await runner.running()
    answer = await gateway.http.post("/admin", json={"all": True, "type": "leave"})
    assert [one["status"] for one in answer.json()["commands"]] == ["ok", "ok"]
    assert claim.launch.session_id == running["session_id"]
    assert isinstance((await runner.command(claim))[1], Leave)
    assert (await gateway.session(waiting["session_id"]))["reason"] == "left"
