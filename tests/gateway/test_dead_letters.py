import asyncio
import re
from typing import Any

import pytest

from shared.contract import DEAD, FIELD, LAUNCH, Reason
from shared.redis.connection import Redis
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.stand_in_runner import StandInRunner

ROOM = "https://example.daily.co/room"
WISH = {"transport": "daily", "room_url": ROOM, "token": "SECRET-1", "body": {"key": "SECRET-2"}, "labels": {"a": "b"}}


async def given_up(gateway: Gateway, runner: StandInRunner, **wish: Any) -> str:
    """A session that died twice; gives its id."""
    session_id: str = (await gateway.join(**wish))["session_id"]
    await runner.lose(await runner.running(), Reason.BOT_DIED)
    await runner.fail(await runner.running(), Reason.BOT_ERROR, "ValueError: no")
    return session_id


async def dead(gateway: Gateway, **query: Any) -> Any:
    answer = await gateway.http.get("/dead", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["dead"]


async def test_without_dead_letters_there_is_an_empty_list(gateway: Gateway) -> None:
    assert await dead(gateway) == []


async def test_a_dead_letter_says_what_was_asked_for_and_why_it_was_given_up(
    gateway: Gateway, runner: StandInRunner
) -> None:
    session_id = await given_up(gateway, runner, **WISH)
    [letter] = await dead(gateway)
    assert re.fullmatch(r"\d+-\d+", letter.pop("id"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", letter.pop("at"))
    assert letter == {
        "unreadable": False,
        "session_id": session_id,
        "room_url": ROOM,
        "transport": "daily",
        "attempts": 2,
        "reason": "bot_error",
        "message": "ValueError: no",
        "failures": [
            {"attempt": 1, "reason": "bot_died", "message": ""},
            {"attempt": 2, "reason": "bot_error", "message": "ValueError: no"},
        ],
        "labels": {"a": "b"},
        "agent": "",
    }


async def test_token_and_body_are_in_no_answer_about_dead_letters(gateway: Gateway, runner: StandInRunner) -> None:
    await given_up(gateway, runner, **WISH)
    await gateway.http.post("/join", json={"transport": "none", "token": "SECRET-3"})
    await runner.launches.discard((await runner.claim()).entry, runner.name, {"json": '{"token": "SECRET-3"'})
    shown = (await gateway.http.get("/dead")).text
    for letter in await dead(gateway):
        shown += (await gateway.http.post(f"/dead/{letter['id']}/redrive")).text
        shown += (await gateway.http.delete(f"/dead/{letter['id']}")).text
    assert "SECRET" not in shown


async def test_the_newest_dead_letters_come_first_and_as_many_as_asked_for(
    gateway: Gateway, runner: StandInRunner
) -> None:
    ids = [await given_up(gateway, runner) for _ in range(3)]
    assert [letter["session_id"] for letter in await dead(gateway)] == ids[::-1]
    assert [letter["session_id"] for letter in await dead(gateway, limit=2)] == [ids[2], ids[1]]


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
async def test_a_limit_that_cannot_be_is_refused_by_name(gateway: Gateway, limit: str) -> None:
    answer = await gateway.http.get("/dead", params={"limit": limit})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_QUERY")
    assert "limit" in answer.json()["error"]


async def test_a_redriven_letter_is_a_new_session_with_all_that_was_asked_for(
    gateway: Gateway, runner: StandInRunner
) -> None:
    old = await given_up(gateway, runner, **WISH, deadline_s=7, max_duration_s=60.5)
    [letter] = await dead(gateway)
    answer = await gateway.http.post(f"/dead/{letter['id']}/redrive")
    reply = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/sessions/{reply['session_id']}")
    assert reply == {
        "session_id": reply["session_id"],
        "room_url": ROOM,
        "transport": "daily",
        "status": "queued",
        "reused": False,
        "queue_depth": 1,
        "reason": None,
        "message": "",
    }
    assert reply["session_id"] != old
    assert await dead(gateway) == []
    launch = (await runner.claim()).launch
    assert {name: getattr(launch, name) for name in WISH} == WISH
    assert (launch.deadline_s, launch.max_duration_s) == (7, 60.5)
    assert (launch.session_id, launch.attempt, launch.failures) == (reply["session_id"], 1, ())


async def test_the_new_session_names_the_one_that_was_given_up_which_stays_failed(
    gateway: Gateway, runner: StandInRunner
) -> None:
    old = await given_up(gateway, runner)
    [letter] = await dead(gateway)
    new = (await gateway.http.post(f"/dead/{letter['id']}/redrive")).json()["session_id"]
    session = await gateway.session(new)
    assert (session["status"], session["attempt"], session["redriven_from"]) == ("queued", 1, old)
    await runner.lose(await runner.running(), Reason.BOT_DIED)
    assert (await gateway.session(new))["redriven_from"] == old
    before = await gateway.session(old)
    assert before["status"] == "failed"
    assert "redriven_from" not in before


async def test_of_10_presses_of_the_button_one_is_a_session(
    gateway: Gateway, runner: StandInRunner, redis: Redis
) -> None:
    await given_up(gateway, runner)
    [letter] = await dead(gateway)
    answers = await asyncio.gather(*(gateway.http.post(f"/dead/{letter['id']}/redrive") for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [202] + [404] * 9
    assert await redis.xlen(LAUNCH) == 1


async def test_a_room_with_a_live_session_refuses_and_names_it_and_the_letter_stays(
    gateway: Gateway, runner: StandInRunner
) -> None:
    await given_up(gateway, runner, **WISH)
    live = (await gateway.join(**WISH))["session_id"]
    [letter] = await dead(gateway)
    answer = await gateway.http.post(f"/dead/{letter['id']}/redrive")
    assert (answer.status_code, answer.json()["code"]) == (409, "REFUSED")
    assert live in answer.json()["error"]
    assert await dead(gateway) == [letter]
    await runner.end(await runner.running(), Reason.COMPLETED)
    assert (await gateway.http.post(f"/dead/{letter['id']}/redrive")).status_code == 202


async def test_a_full_queue_refuses_with_a_time_to_come_back_and_the_letter_stays(
    gateway_with: StartGateway, runner: StandInRunner
) -> None:
    async with gateway_with(queue_limit=1) as gateway:
        await given_up(gateway, runner)
        await gateway.join()
        [letter] = await dead(gateway)
        answer = await gateway.http.post(f"/dead/{letter['id']}/redrive")
        assert (answer.status_code, answer.json()["code"]) == (429, "AT_CAPACITY")
        assert int(answer.headers["retry-after"]) > 0
        assert await dead(gateway) == [letter]


async def test_an_unreadable_letter_is_marked_and_can_be_deleted_but_not_redriven(
    gateway: Gateway, redis: Redis
) -> None:
    await redis.xadd(DEAD, {FIELD: "{"})
    [letter] = await dead(gateway)
    assert (letter["unreadable"], letter["session_id"], letter["failures"]) == (True, None, [])
    answer = await gateway.http.post(f"/dead/{letter['id']}/redrive")
    assert (answer.status_code, answer.json()["code"]) == (409, "REFUSED")
    assert (await gateway.http.delete(f"/dead/{letter['id']}")).status_code == 204
    assert await dead(gateway) == []


async def test_a_letter_is_deleted_with_an_empty_answer_and_only_once(gateway: Gateway, runner: StandInRunner) -> None:
    await given_up(gateway, runner)
    [letter] = await dead(gateway)
    answer = await gateway.http.delete(f"/dead/{letter['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert await dead(gateway) == []
    assert (await gateway.http.delete(f"/dead/{letter['id']}")).status_code == 404


@pytest.mark.parametrize("letter_id", ["1-1", "nothing", "%2B", "1-*", "99999999999999999999-0"])
async def test_a_letter_that_is_not_there_is_not_found(gateway: Gateway, runner: StandInRunner, letter_id: str) -> None:
    await given_up(gateway, runner)
    for method, path in (("POST", f"/dead/{letter_id}/redrive"), ("DELETE", f"/dead/{letter_id}")):
        answer = await gateway.http.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert len(await dead(gateway)) == 1
