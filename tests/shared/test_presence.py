"""Who is in the fleet's picture, and who no longer."""

from typing import Any

from shared import presence
from shared.contract import FIELD, PRESENCE_KEPT_S, RUNNERS, Presence
from shared.redis.connection import Redis
from shared.redis.entries import encode
from tests.presences import a_presence


def runner(name: str, **values: Any) -> Presence:
    return a_presence(name, **{"slots": 2, "free": 2, **values})


async def test_the_last_word_of_each_runner_counts(redis: Redis) -> None:
    for said in (runner("b"), runner("a", busy=1), runner("a", busy=2), runner("b", state="draining")):
        await presence.announce(redis, said)
    assert await presence.present(redis) == [runner("a", busy=2), runner("b", state="draining")]


async def test_a_runner_that_says_goodbye_is_gone_at_once(redis: Redis) -> None:
    await presence.announce(redis, runner("a"))
    await presence.announce(redis, runner("a", state="gone"))
    assert await presence.present(redis) == []


async def test_a_runner_that_fell_silent_is_gone_even_if_nobody_else_speaks(redis: Redis) -> None:
    await redis.xadd(RUNNERS, {FIELD: encoded("a")}, id=f"{await age(redis, PRESENCE_KEPT_S + 0.1)}-0")
    await redis.xadd(RUNNERS, {FIELD: encoded("b")}, id=f"{await age(redis, PRESENCE_KEPT_S - 5)}-0")
    assert [one.runner for one in await presence.present(redis)] == ["b"]


async def test_what_is_too_old_to_count_is_dropped_from_the_stream(redis: Redis) -> None:
    await redis.xadd(RUNNERS, {FIELD: encoded("a")}, id=f"{await age(redis, PRESENCE_KEPT_S + 0.1)}-0")
    await presence.announce(redis, runner("b"))
    assert await redis.xlen(RUNNERS) == 1


async def test_what_this_version_cannot_read_is_left_out(redis: Redis) -> None:
    await redis.xadd(RUNNERS, {FIELD: '{"runner": 7}'})
    await redis.xadd(RUNNERS, {"other": "field"})
    await presence.announce(redis, runner("a"))
    assert [one.runner for one in await presence.present(redis)] == ["a"]


async def test_a_fleet_of_nobody_is_empty(redis: Redis) -> None:
    assert await presence.present(redis) == []


def encoded(name: str) -> str:
    return encode(runner(name))


async def age(redis: Redis, seconds: float) -> int:
    """The server's time so many seconds ago, in milliseconds."""
    now, microseconds = await redis.time()
    return int((now + microseconds / 1e6 - seconds) * 1000)
