import asyncio

import pytest

from shared.contract import Leaving, Reason
from tests.gateway.conftest import Gateway
from tests.gateway.stand_in_runner import StandInRunner


async def test_a_session_is_shown_with_its_way_from_queue_to_end(gateway: Gateway, runner: StandInRunner) -> None:
    joined = await gateway.join(labels={"team": "a"})
    await runner.end(await runner.running(), Reason.COMPLETED)
    session = await gateway.session(joined["session_id"])
    times = [step["at"] for step in session["timeline"]]
    assert [step["type"] for step in session["timeline"]] == ["queued", "starting", "running", "ended"]
    assert times == sorted(times)
    assert session == {
        "session_id": joined["session_id"],
        "room_url": joined["room_url"],
        "transport": "none",
        "status": "ended",
        "leaving": False,
        "reason": "completed",
        "message": "",
        "attempt": 1,
        "start": "warm",
        "runner": "runner-1",
        "created_at": times[0],
        "ended_at": times[-1],
        "labels": {"team": "a"},
        "agent": "",
        "timeline": session["timeline"],
    }


async def test_a_lost_attempt_shows_its_reason_until_the_next_one_starts(
    gateway: Gateway, runner: StandInRunner
) -> None:
    session_id = (await gateway.join())["session_id"]
    await runner.lose(await runner.running(), Reason.BOT_DIED)
    session = await gateway.session(session_id)
    assert (session["status"], session["attempt"], session["reason"]) == ("queued", 2, "bot_died")
    await runner.running()
    session = await gateway.session(session_id)
    assert (session["status"], session["attempt"], session["reason"]) == ("running", 2, None)


async def test_a_session_whose_bot_was_told_to_leave_says_so_until_it_has_left(
    gateway: Gateway, runner: StandInRunner
) -> None:
    session_id = (await gateway.join())["session_id"]
    claim = await runner.running()
    assert not (await gateway.session(session_id))["leaving"]
    await runner.report(claim, Leaving(session_id=session_id, attempt=1, reason=Reason.LEFT))
    [listed] = (await gateway.http.get("/sessions")).json()["sessions"]
    assert (listed["status"], listed["leaving"]) == ("running", True)
    await runner.end(claim, Reason.LEFT)
    assert not (await gateway.session(session_id))["leaving"]


async def test_only_live_sessions_are_listed_oldest_first(gateway: Gateway, runner: StandInRunner) -> None:
    ids = [(await gateway.join())["session_id"] for _ in range(4)]
    await runner.end(await runner.running(), Reason.COMPLETED)
    await runner.running()
    listed = (await gateway.http.get("/sessions")).json()["sessions"]
    assert [session["session_id"] for session in listed] == ids[1:]
    assert [session["status"] for session in listed] == ["running", "queued", "queued"]
    assert all("timeline" not in session for session in listed)
    first = (await gateway.http.get("/sessions?limit=1")).json()["sessions"]
    assert [session["session_id"] for session in first] == ids[1:2]


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
async def test_a_limit_out_of_bounds_is_refused(gateway: Gateway, limit: str) -> None:
    answer = await gateway.http.get("/sessions", params={"limit": limit})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("limit: ")


async def test_an_unknown_session_is_not_found(gateway: Gateway) -> None:
    answers = await asyncio.gather(
        gateway.http.get("/sessions/nobody"), gateway.http.get("/sessions/%7Bbot%7D"), gateway.http.get("/sessions/a b")
    )
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "NOT_FOUND")}


async def test_a_list_that_is_read_in_pages_has_every_session_once_and_an_end(
    gateway: Gateway, runner: StandInRunner
) -> None:
    ids = [(await gateway.join())["session_id"] for _ in range(5)]
    await runner.lose(await runner.running(), Reason.BOT_DIED)  # the next attempt stands in a stream of its own
    seen, after = list[str](), ""
    for length in (2, 2, 1):
        page = (await gateway.http.get("/sessions", params={"limit": 2, "after": after})).json()
        assert len(page["sessions"]) == length
        seen += [session["session_id"] for session in page["sessions"]]
        after = page.get("next", "")
    assert (seen, after) == ([*ids[1:], ids[0]], "")
    assert (await gateway.http.get("/sessions?after=x")).status_code == 400
