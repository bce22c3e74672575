"""Each event of the feed is counted once, whoever of the operators is there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from services.operator import portion
from services.operator.metrics.feed_counts import FeedCounts
from shared.contract import COUNTED, EVENTS, CommandDone, Ended, Outcome, Reason
from shared.events import News
from shared.redis.connection import Redis
from shared.redis.streams import read_group
from tests.launching import offer
from tests.scraping import Scraped, read
from tests.waiting import until


@asynccontextmanager
async def counting(redis: Redis, *operators: str) -> AsyncIterator[None]:
    """These operators, in this process, at work."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for name in operators:
            group.create_task(FeedCounts(redis, name).run(stop))
        yield
        stop.set()


def now() -> Scraped:
    """What this process has counted, which other tests have added to."""
    from shared import metrics  # noqa: PLC0415

    return read(metrics.text().decode())


async def listening(redis: Redis) -> bool:
    groups: Any = await redis.xinfo_groups(EVENTS) if await redis.exists(EVENTS) else []
    return any(group["name"] == COUNTED and group["consumers"] for group in groups)


async def all_counted(redis: Redis) -> bool:
    (group,) = [group for group in await redis.xinfo_groups(EVENTS) if group["name"] == COUNTED]
    return bool(group["lag"] == 0 and group["pending"] == 0)


async def test_two_operators_count_each_event_once_with_the_agent_of_its_session(redis: Redis) -> None:
    before = now()
    async with counting(redis, "one", "two"):
        await until(lambda: listening(redis))
        for number in range(30):
            launch = await offer(redis, agent="sales")
            who: Any = {"session_id": launch.session_id, "attempt": 1}
            kind = "say" if number else "a kind of tomorrow"
            done = CommandDone(**who, command_id=f"c{number}", kind=kind, outcome=Outcome.DELIVERED)
            assert await News(redis).publish(done)
            assert await News(redis).publish(Ended(**who, reason=Reason.COMPLETED))
        await until(lambda: all_counted(redis))
    for name, labels, number in (
        ("pipefleet_sessions_over_total", {"agent": "sales", "status": "ended", "reason": "completed"}, 30),
        ("pipefleet_commands_total", {"kind": "say", "outcome": "delivered"}, 29),
        ("pipefleet_commands_total", {"kind": "unknown"}, 1),
        ("pipefleet_commands_total", {"kind": "a kind of tomorrow"}, 0),
    ):
        assert now().total(name, **labels) - before.total(name, **labels) == number, (name, labels)
    assert await redis.xinfo_consumers(EVENTS, COUNTED) == []


async def test_what_an_operator_was_given_and_did_not_count_is_counted_by_another(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portion, "ABANDONED_S", 0.0)
    await redis.xgroup_create(EVENTS, COUNTED, id="$", mkstream=True)
    launch = await offer(redis)
    assert await News(redis).publish(Ended(session_id=launch.session_id, attempt=1, reason=Reason.LEFT))
    assert await read_group(redis, COUNTED, "dead", {EVENTS: ">"})
    before = now().total("pipefleet_sessions_over_total", reason="left")
    async with counting(redis, "alive"):
        await until(lambda: all_counted(redis))
    assert now().total("pipefleet_sessions_over_total", reason="left") - before == 1


async def test_counting_goes_on_where_redis_has_lost_everything(redis: Redis) -> None:
    before = now().total("pipefleet_sessions_over_total", reason="max_duration")
    async with counting(redis, "one"):
        await until(lambda: listening(redis))
        await redis.flushall()
        launch = await offer(redis)
        await until(lambda: listening(redis))
        assert await News(redis).publish(Ended(session_id=launch.session_id, attempt=1, reason=Reason.MAX_DURATION))
        await until(lambda: all_counted(redis))
    assert now().total("pipefleet_sessions_over_total", reason="max_duration") - before == 1


async def test_events_whose_acknowledgement_got_lost_are_not_counted_twice(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledge = redis.xack
    lost: list[Any] = []

    async def lose(*args: Any, happens: bool) -> None:
        lost.append(args)
        if happens:
            await acknowledge(*args)
        raise RedisConnectionError("the answer got lost")

    before = now().total("pipefleet_sessions_over_total", reason="completed")
    async with counting(redis, "one"):
        await until(lambda: listening(redis))
        for happens in (True, False):
            monkeypatch.setattr(redis, "xack", partial(lose, happens=happens))
            launch = await offer(redis)
            ended = Ended(session_id=launch.session_id, attempt=1, reason=Reason.COMPLETED)
            assert await News(redis).publish(ended)
            await until(lambda: lost)
            lost.clear()
            monkeypatch.setattr(redis, "xack", acknowledge)
            await until(lambda: all_counted(redis))
    assert now().total("pipefleet_sessions_over_total", reason="completed") - before == 2
