"""Launches that no warm runner takes get Jobs: as many as are needed, and each launch is served once."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from shared.contract import Ended, Launch, Leave, Starting
from shared.presence import present
from tests.launching import send
from tests.operator.kubernetes.ground import Ground, unfinished
from tests.processes import session_event
from tests.waiting import until

START_EVERY_S = 0.5
"""How soon after each other Pods of a burst start: this machine is all of the cluster's nodes."""


async def test_a_launch_in_an_empty_fleet_is_served_by_a_job_of_the_deployments_own_template(ground: Ground) -> None:
    operator = ground.operator()
    launch = await ground.offer("return")
    assert (await session_event(ground.redis, launch.session_id, Starting)).start == "cold"
    await session_event(ground.redis, launch.session_id, Ended)
    assert [event.stage for event in await ground.told(launch)][:1] == ["created"]
    assert {event.error for event in await ground.told(launch)} == {""}
    await ground.cluster.until(lambda: not unfinished(ground.cluster))
    assert len(ground.created()) == 1
    operator.terminate()
    assert await operator.wait() == 0


async def burst(ground: Ground, slots: int, size: int) -> list[Launch]:
    """Launches that all come at once, beyond what the warm runner has slots for; returns when all are served."""
    ground.warm_runner(slots)

    async def warm() -> bool:
        return sum(runner.free for runner in await present(ground.redis)) == slots

    await until(warm)
    for number in range(size - slots):
        ground.cluster.trouble("slow", seconds=number * START_EVERY_S)
    launches = await asyncio.gather(*(ground.offer(deadline_s=600.0) for _ in range(size)))
    await until(lambda: len(ground.entered()) >= size, within_s=200)
    return list(launches)


async def check_served_once(ground: Ground, launches: list[Launch], jobs: int) -> None:
    """Each launch had one bot, there were exactly so many Jobs, and with the last bot the last Job is over."""
    assert sorted(line.session_id for line in ground.entered()) == sorted(one.session_id for one in launches)
    again = [name for name, times in Counter(ground.created()).items() if times > 1]
    assert again == [], "deleted, and made again"
    assert len(ground.created()) == jobs
    assert len(unfinished(ground.cluster)) == jobs
    for launch in launches:
        await send(ground.redis, launch, Leave(command_id="leave"))
    await ground.cluster.until(lambda: not unfinished(ground.cluster))
    assert len(ground.created()) == jobs
    conditions = [one["type"] for job in ground.cluster.jobs() for one in job["status"]["conditions"]]
    assert conditions.count("Complete") == jobs


async def test_a_burst_gets_one_job_for_each_launch_that_no_warm_runner_took(ground: Ground) -> None:
    for _ in range(2):
        ground.operator(COLD_MAX="100", OVERFLOW_GRACE="1")
    launches = await burst(ground, slots=2, size=6)
    await check_served_once(ground, launches, jobs=4)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_hundred_launches_on_ten_warm_slots_with_three_operators_make_ninety_jobs(
    ground: Ground, tell: Callable[..., None]
) -> None:
    for _ in range(3):
        ground.operator(COLD_MAX="100", OVERFLOW_GRACE="2")
    began = time.monotonic()
    launches = await burst(ground, slots=10, size=100)
    took_s = time.monotonic() - began
    await check_served_once(ground, launches, jobs=90)
    tell(f"100 launches, 90 Jobs, {took_s:.0f} s until the last was served", under="A burst over three operators:")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_operators_that_are_killed_and_restarted_at_random_make_neither_more_nor_fewer_jobs(
    ground: Ground, tell: Callable[..., None]
) -> None:
    """The launches of an operator that was killed are taken over after some 15 s; each is served once all the same."""
    chance, kills = random.Random(1), 0  # noqa: S311
    settings = {"COLD_MAX": "100", "OVERFLOW_GRACE": "2"}
    operators = [ground.operator(**settings) for _ in range(3)]
    bursting = asyncio.create_task(burst(ground, slots=10, size=100))
    while not ground.created():
        await asyncio.sleep(0.05)
    while not bursting.done():
        victim = chance.randrange(3)
        operators[victim].kill()
        kills += 1
        operators[victim] = ground.operator(**settings)
        await asyncio.wait({bursting}, timeout=chance.uniform(0.5, 4))
    await check_served_once(ground, await bursting, jobs=90)
    tell(f"100 launches, 90 Jobs, {kills} kills", under="A burst over three operators that are killed at random:")
