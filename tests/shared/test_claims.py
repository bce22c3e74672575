"""Claiming: one at a time, never lost, never after a stop."""

import asyncio

import msgspec
import pytest

from shared.claims import WAITING, Claims, waits_at_the_server
from shared.contract import DEAD, EVENTS, FIELD, LAUNCH, RELAUNCH, Failure, Launch, Reason
from shared.errors import Unavailable
from shared.launches import Launches, after
from shared.redis.connection import Redis, connect
from shared.redis.entries import encode
from tests.launching import a_launch, offer
from tests.waiting import until_a_reader_waits


@pytest.mark.parametrize("steps", range(40))
async def test_a_stop_ends_a_claim_that_is_under_way_at_any_step_of_it(redis: Redis, steps: int) -> None:
    """A stop that came while the read was being prepared was overtaken by it: a draining runner claimed a launch."""
    await Launches(redis).ensure_group("runners")
    claims = Claims(redis, "me")
    waiting = asyncio.create_task(claims.next(wait_s=5))
    for _ in range(steps):
        await asyncio.sleep(0)
    await claims.stop()
    assert await asyncio.wait_for(waiting, 2) is None
    await offer(redis)
    assert await claims.next(wait_s=0.01) is None
    assert await Launches(redis).depth() == 1
    await claims.aclose()


async def test_launches_are_claimed_in_the_order_in_which_they_were_accepted(redis: Redis) -> None:
    offered = [await offer(redis) for _ in range(5)]
    claims = Claims(redis, "me")
    claimed = [await claims.next(wait_s=0.1) for _ in range(5)]
    assert [claim.launch for claim in claimed if claim] == offered
    assert await claims.next(wait_s=0.01) is None
    await claims.aclose()


async def test_a_next_attempt_comes_before_launches_that_wait_for_longer(redis: Redis) -> None:
    waiting = [await offer(redis) for _ in range(3)]
    claims = Claims(redis, "me")
    first = await claims.next(wait_s=0.1)
    assert first is not None
    failure = Failure(attempt=1, reason=Reason.RUNNER_LOST)
    assert await Launches(redis).settle(first, "me", after(first.launch, failure, 3))
    claimed = [await claims.next(wait_s=0.1) for _ in range(3)]
    assert [(claim.launch.session_id, claim.launch.attempt) for claim in claimed if claim] == [
        (waiting[0].session_id, 2),
        (waiting[1].session_id, 1),
        (waiting[2].session_id, 1),
    ]
    await claims.aclose()


async def test_of_two_launches_that_came_in_one_answer_neither_is_lost(redis: Redis) -> None:
    """A read that waits on both streams may be given one of each."""
    first = await offer(redis)
    claims = Claims(redis, "me")
    taken = await claims.next(wait_s=0.1)
    assert taken is not None
    waiting = asyncio.create_task(claims.next(wait_s=5))
    await until_a_reader_waits(redis)
    # As the scripts number them, by the feed.
    ids = [str(await redis.xadd(EVENTS, {FIELD: "{}"})) for _ in range(2)]
    async with redis.pipeline(transaction=True) as pipe:
        for stream, attempt, entry in ((LAUNCH, 1, ids[0]), (RELAUNCH, 2, ids[1])):
            pipe.xadd(stream, {FIELD: encode(msgspec.structs.replace(first, attempt=attempt))}, id=entry)
        await pipe.execute()
    found = [await waiting, await claims.next(wait_s=0.1)]
    # The fresh one was given back, and is a later attempt now.
    assert [claim.launch.attempt for claim in found if claim] == [2, 2]
    assert await claims.next(wait_s=0.01) is None
    await claims.aclose()


async def test_a_claim_whose_answer_was_lost_is_found_again(redis: Redis, redis_url: str) -> None:
    """The connection broke between the server's giving and our taking."""
    async with connect(redis_url, retries=0) as fragile:
        claims = Claims(fragile, "me")
        waiting = asyncio.create_task(claims.next(wait_s=5))
        launch = await give_unheard(redis)
        with pytest.raises(Unavailable):
            await waiting
        found = await claims.next(wait_s=0.1)
        assert found is not None
        assert found.launch == launch
        assert await claims.next(wait_s=0.01) is None
        await claims.aclose()


async def give_unheard(redis: Redis) -> Launch:
    """Break the reader's connection, and have the server give it a launch all the same."""
    for reader in await until_a_reader_waits(redis):
        await redis.client_kill_filter(_id=reader)
    launch = await offer(redis)
    await redis.xreadgroup("runners", "me", {LAUNCH: ">"})
    return launch


async def test_an_entry_that_nobody_can_read_becomes_a_dead_letter_and_blocks_nobody(redis: Redis) -> None:
    await Launches(redis).ensure_group("runners")
    await redis.xadd(LAUNCH, {FIELD: '{"session_id": 5}'}, id="1-1")
    await redis.xadd(LAUNCH, {"other": "field"}, id="1-2")
    launch = await offer(redis)
    claims = Claims(redis, "me")
    found = None
    for _ in range(3):
        found = found or await claims.next(wait_s=0.1)
    assert found is not None
    assert found.launch == launch
    assert await redis.xlen(DEAD) == 2
    assert await redis.xlen(LAUNCH) == 1
    await claims.aclose()


@pytest.mark.parametrize(
    ("consumers", "chance", "waits"),
    [(1, 0.999, True), (WAITING, 0.999, True), (10 * WAITING, 0.09, True), (10 * WAITING, 0.11, False)],
)
def test_of_a_small_fleet_all_runners_wait_at_the_server_and_of_a_large_one_so_many(
    consumers: int, chance: float, waits: bool
) -> None:
    assert waits_at_the_server(consumers, chance) is waits


@pytest.fixture
def nobody_waits_at_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.claims.WAITING", 0)
    monkeypatch.setattr("shared.claims.BLOCK_S", 0.05)


@pytest.mark.usefixtures("nobody_waits_at_the_server")
async def test_a_runner_that_does_not_wait_at_the_server_claims_when_it_looks_again(any_redis: Redis) -> None:
    claims = Claims(any_redis, "me")
    looking = asyncio.create_task(claims.next(wait_s=0.1))
    while not await any_redis.exists(LAUNCH):
        await asyncio.sleep(0.001)
    launch = await offer(any_redis)
    found = await looking or await claims.next(wait_s=0.1)
    assert found is not None
    assert found.launch == launch
    await claims.aclose()


@pytest.mark.usefixtures("nobody_waits_at_the_server")
async def test_a_stop_ends_the_wait_of_a_runner_that_does_not_wait_at_the_server(redis: Redis) -> None:
    claims = Claims(redis, "me")
    waiting = asyncio.create_task(claims.next(wait_s=60))
    while not claims._certain:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert (await redis.info("clients"))["blocked_clients"] == 0
    await claims.stop()
    assert await asyncio.wait_for(waiting, 2) is None
    await claims.aclose()


@pytest.mark.usefixtures("nobody_waits_at_the_server")
async def test_a_cold_runner_waits_at_the_server_in_any_fleet(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has less time than others, and so does not stand back."""
    monkeypatch.setattr("shared.claims.BLOCK_S", 5.0)
    claims = Claims(redis, "cold")
    waiting = asyncio.create_task(claims.next(wait_s=4.9))
    await until_a_reader_waits(redis)
    await claims.stop()
    assert await waiting is None
    await claims.aclose()


async def test_what_was_given_while_the_server_could_not_write_is_claimed_as_soon_as_it_can(redis: Redis) -> None:
    """One of two launches is given back. As that failed, the other was with a runner that did not know of it."""
    await Launches(redis).ensure_group("runners")
    claims = Claims(redis, "me")
    claiming = asyncio.create_task(claims.next(wait_s=5))
    await until_a_reader_waits(redis)
    try:
        async with redis.pipeline(transaction=True) as pipe:
            for stream, attempt in ((LAUNCH, 1), (RELAUNCH, 2)):
                pipe.xadd(stream, {FIELD: encode(a_launch(attempt=attempt))}, id=f"{attempt}-0")
            pipe.config_set("maxmemory", 1)
            await pipe.execute()
        with pytest.raises(Unavailable):
            await claiming
    finally:
        await redis.config_set("maxmemory", 0)
    given = [await claims.next(wait_s=0.01) for _ in range(2)]
    assert sorted(claim.launch.attempt for claim in given if claim) == [1, 2]
    await claims.aclose()
