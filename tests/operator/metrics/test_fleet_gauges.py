"""What an operator says of the whole fleet, at the moment it is asked."""

import math
from typing import Any

from services.operator.metrics.fleet_gauges import FleetGauges
from shared.contract import CLAIMS, DEAD, Presence
from shared.launches import Launches
from shared.presence import announce
from shared.redis.connection import Redis, connect
from shared.redis.streams import read_group
from tests.launching import offer
from tests.scraping import Scraped, read
from tests.waiting import until


async def told(redis: Redis) -> Scraped:
    return read((await FleetGauges(redis).text()).decode())


async def test_depth_and_age_are_those_of_what_no_runner_has(redis: Redis) -> None:
    taken = await offer(redis, agent="sales")
    await Launches(redis, ["sales"]).ensure_group(CLAIMS)
    assert await read_group(redis, CLAIMS, "runner", {"{bot}:launch:sales": ">"})
    waiting = [await offer(redis, agent="sales") for _ in range(3)]
    assert taken.session_id not in {one.session_id for one in waiting}

    async def aged() -> Scraped | None:
        found = await told(redis)
        return found if found.total("pipefleet_queue_oldest_age_seconds", agent="sales") >= 0.05 else None

    found: Scraped = await until(aged)
    assert found.total("pipefleet_queue_depth", agent="sales") == 3
    assert found.total("pipefleet_queue_oldest_age_seconds", agent="sales") < 5
    for of_default in ("pipefleet_queue_depth", "pipefleet_queue_oldest_age_seconds"):
        assert [one.value for one in found.named(of_default) if not one.labels["agent"]] == [0]


async def test_a_queue_that_redis_has_lost_is_not_told_for_ever(redis: Redis) -> None:
    """Of an agent that nobody serves, nobody makes it known again, and its last age called people until a restart."""
    await offer(redis, agent="sales")
    assert (await told(redis)).total("pipefleet_queue_depth", agent="sales") == 1
    await redis.flushall()
    found = await told(redis)
    for name in ("pipefleet_queue_depth", "pipefleet_queue_oldest_age_seconds"):
        assert [(one.labels["agent"], one.value) for one in found.named(name)] == [("", 0)]


async def test_slots_are_added_up_and_a_kind_that_is_gone_is_0(redis: Redis) -> None:
    about: dict[str, Any] = {"host": "h", "pid": 1, "version": "0", "state": "ready"}
    runners = [
        Presence(runner="w1", start="warm", slots=4, busy=2, free=1, running=1, **about),
        Presence(runner="w2", start="warm", slots=4, busy=0, free=4, running=0, **about),
        Presence(runner="c1", start="cold", slots=1, busy=1, free=0, running=1, **about),
    ]
    for runner in runners:
        await announce(redis, runner)
    found = await told(redis)
    states = {(start, state): found.total("pipefleet_slots", start=start, state=state)
              for start in ("warm", "cold") for state in ("busy", "free", "unready")}  # fmt: skip
    assert list(states.values()) == [2, 5, 1, 1, 0, 0]
    assert found.total("pipefleet_bots_in_room") == 2
    await redis.flushall()
    gone = await told(redis)
    assert {sample.value for sample in gone.named("pipefleet_slots")} == {0}
    assert len(gone.named("pipefleet_slots")) == 6


async def test_while_redis_is_away_nothing_is_said_of_the_fleet_and_everything_else_is(redis: Redis) -> None:
    await redis.xadd(DEAD, {"json": "{}"})
    await told(redis)
    async with connect("unix:///nowhere/redis.sock", retries=0) as nowhere:
        found = await told(nowhere)
    names = {sample.name for sample in found.samples if not math.isnan(sample.value)}
    assert not names & {"pipefleet_queue_depth", "pipefleet_slots", "pipefleet_runners", "pipefleet_dead_letters"}
    assert "process_resident_memory_bytes" in names


async def test_a_scrape_takes_as_many_calls_with_many_sessions_as_with_one(redis: Redis) -> None:
    async def calls() -> int:
        before = (await redis.info("stats"))["total_commands_processed"]
        await told(redis)
        return int((await redis.info("stats"))["total_commands_processed"] - before)

    await offer(redis)
    few = await calls()
    for _ in range(50):
        await offer(redis)
    assert await calls() == few < 20
