import asyncio
from typing import Any

import pytest

from services.gateway import sessions
from services.gateway.commands.leaving import withdraw
from shared import contract
from shared.contract import LAUNCH, Leave, Reason
from shared.redis.connection import Redis
from tests.gateway.conftest import Gateway
from tests.gateway.stand_in_runner import StandInRunner

ROOM = "https://example.daily.co/room"


async def test_a_session_that_nobody_has_is_withdrawn_at_once(gateway: Gateway, redis: Redis) -> None:
    joined = await gateway.join(room_url=ROOM, transport="daily")
    answer = await gateway.http.post("/leave", json={"room_url": "https://EXAMPLE.daily.co/room/"})
    assert answer.status_code == 202
    assert answer.json() == {"session_id": joined["session_id"], "room_url": ROOM, "status": "ended"}
    session = await gateway.session(joined["session_id"])
    assert (session["status"], session["reason"]) == ("ended", "left")
    left = {key async for key in redis.scan_iter("*")}
    assert left == {LAUNCH, contract.RELAUNCH, contract.EVENTS, contract.session_key(joined["session_id"])}
    assert await redis.xlen(LAUNCH) == 0
    assert not (await gateway.join(room_url=ROOM, transport="daily"))["reused"]


@pytest.mark.parametrize("way", ["room", "session", "delete"])
async def test_the_bot_of_a_running_session_is_told_to_leave(gateway: Gateway, runner: StandInRunner, way: str) -> None:
    joined = await gateway.join()
    claim = await runner.running()
    if way == "delete":
        answer = await gateway.http.delete(f"/sessions/{joined['session_id']}")
    else:
        field = "room_url" if way == "room" else "session_id"
        answer = await gateway.http.post("/leave", json={field: joined[field]})
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    _, command = await runner.command(claim)
    assert isinstance(command, Leave)
    await runner.end(claim, Reason.LEFT)
    assert (await gateway.session(joined["session_id"]))["reason"] == "left"


async def test_a_session_whose_launch_is_lost_is_answered_and_not_looked_for_for_ever(
    gateway: Gateway, redis: Redis
) -> None:
    """One DELETE of such a session kept a gateway and Redis busy without end."""
    joined = await gateway.join()
    await redis.xtrim(LAUNCH, maxlen=0, approximate=False)
    answer = await gateway.http.delete(f"/sessions/{joined['session_id']}")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    assert "no launch any more" in answer.json()["error"]


async def test_what_is_over_or_never_was_cannot_leave(gateway: Gateway, runner: StandInRunner) -> None:
    joined = await gateway.join()
    await runner.end(await runner.running(), Reason.COMPLETED)
    answers = [
        await gateway.http.delete(f"/sessions/{joined['session_id']}"),
        await gateway.http.delete("/sessions/nobody"),
        await gateway.http.post("/leave", json={"session_id": joined["session_id"]}),
        await gateway.http.post("/leave", json={"room_url": joined["room_url"]}),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "NOT_FOUND")}
    assert "completed" in answers[0].json()["error"]


@pytest.mark.parametrize(
    "body", [{}, {"session_id": "a", "room_url": ROOM}, {"room_url": "nowhere"}, {"room": ROOM}, {"session_id": 1}]
)
async def test_leave_needs_one_way_to_name_the_session(gateway: Gateway, body: dict[str, Any]) -> None:
    answer = await gateway.http.post("/leave", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_BODY")


async def test_a_launch_that_was_claimed_meanwhile_is_not_withdrawn(gateway: Gateway, runner: StandInRunner) -> None:
    session = await gateway.parts.session((await gateway.join())["session_id"])
    claim = await runner.claim()
    assert not await withdraw(gateway.parts, session)
    assert await runner.launches.read(claim.entry) == claim.launch


async def test_the_next_attempt_is_withdrawn_when_the_last_one_was_lost_meanwhile(
    gateway: Gateway, runner: StandInRunner
) -> None:
    session_id = (await gateway.join())["session_id"]
    session = await gateway.parts.session(session_id)
    await runner.lose(await runner.running(), Reason.BOT_DIED)
    assert await withdraw(gateway.parts, session)
    shown = await gateway.session(session_id)
    assert (shown["status"], shown["reason"], shown["attempt"]) == ("ended", "left", 2)
    assert shown["timeline"][-1]["attempt"] == 2


async def test_however_claim_and_withdrawal_race_exactly_one_of_them_wins(
    gateway: Gateway, redis: Redis, runner: StandInRunner
) -> None:
    for _ in range(40):
        session_id = (await gateway.join())["session_id"]
        left, claim = await asyncio.gather(
            gateway.http.delete(f"/sessions/{session_id}"), runner.try_to_claim(wait_s=0.02)
        )
        session = await sessions.read(redis, session_id)
        assert session
        assert left.status_code == 202
        if claim is None:
            assert session.reason is Reason.LEFT
            continue
        assert not session.status.over
        _, command = await runner.command(claim)
        assert isinstance(command, Leave)
        runner.inbox.close(session_id)
        await runner.end(claim, Reason.LEFT)


async def test_of_many_who_make_one_queued_session_leave_one_succeeds(gateway: Gateway) -> None:
    session_id = (await gateway.join())["session_id"]
    answers = await asyncio.gather(*(gateway.http.delete(f"/sessions/{session_id}") for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [202] + [404] * 9
    assert [step["type"] for step in (await gateway.session(session_id))["timeline"]] == ["queued", "ended"]
