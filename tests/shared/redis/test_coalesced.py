"""One script, called by many in one turn of the loop, on each kind of server."""

import asyncio
from contextlib import suppress

from shared.errors import Unavailable
from shared.redis.coalesced import Coalesced
from shared.redis.connection import Redis, connect

ROOMS = [f"room-{number}" for number in range(20)]


async def reads(redis: Redis) -> int:
    """How many times the server has read from a connection."""
    count: int = (await redis.info("stats"))["total_reads_processed"]
    return count


async def find(script: Coalesced, room: str) -> str:
    answer: str = await script([room], [])
    return answer


async def test_callers_of_one_turn_get_each_its_own_answer_in_one_round_trip(any_redis: Redis) -> None:
    script = Coalesced(any_redis, "find")
    for room in ROOMS:
        await any_redis.set(room, f"session of {room}")
    await find(script, ROOMS[0])
    before = await reads(any_redis)
    found = await asyncio.gather(*(find(script, room) for room in ROOMS))
    assert found == [f"session of {room}" for room in ROOMS]
    assert await reads(any_redis) - before <= 3


async def test_a_server_that_has_never_seen_the_script_runs_it_all_the_same(any_redis: Redis) -> None:
    script = Coalesced(any_redis, "find")
    await any_redis.script_flush()
    await any_redis.set("room", "here")
    assert [*await asyncio.gather(find(script, "room"), find(script, "nowhere"))] == ["here", ""]


async def test_a_cancelled_caller_takes_no_other_along(any_redis: Redis) -> None:
    """The first of a turn sends for all: at whatever point it is cancelled, the others have their answers."""
    script = Coalesced(any_redis, "find")
    await any_redis.set("room", "here")
    for turns in range(6):
        callers = [asyncio.create_task(find(script, "room")) for _ in range(4)]
        for _ in range(turns):
            await asyncio.sleep(0)
        callers[0].cancel()
        callers[2].cancel()
        with suppress(asyncio.CancelledError):
            await callers[0]
        with suppress(asyncio.CancelledError):
            await callers[2]
        assert [*await asyncio.gather(callers[1], callers[3])] == ["here", "here"]
    assert await find(script, "room") == "here"


async def test_an_answer_that_is_an_error_is_the_error_of_its_caller_alone(any_redis: Redis) -> None:
    script = Coalesced(any_redis, "find")
    await any_redis.set("room", "here")
    await any_redis.lpush("list", "no string")
    found = await asyncio.gather(find(script, "room"), find(script, "list"), return_exceptions=True)
    assert found[0] == "here"
    assert "WRONGTYPE" in str(found[1])


async def test_a_server_that_is_away_is_unavailable_to_every_caller() -> None:
    async with connect("redis://127.0.0.1:1", retries=0) as redis:
        script = Coalesced(redis, "find")
        found = await asyncio.gather(*(find(script, room) for room in ROOMS), return_exceptions=True)
    assert [type(error) for error in found] == [Unavailable] * len(ROOMS)
