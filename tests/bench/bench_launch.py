"""How long a caller waits for a warm bot: from the request until the bot's function is entered."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from shared.redis.connection import Redis
from tests.bench import stacks
from tests.bench.conftest import Scale
from tests.bench.entered import Entered, listening
from tests.bench.figures import Figure, Figures, percentile
from tests.bench.stacks import Stack
from tests.processes import Children

RUNNERS, SLOTS = 4, 4
"""So many runners with so many slots; the original has a runner for each slot."""
numbers = itertools.count(1)


@asynccontextmanager
async def everyone(children: Children, redis: Redis, entered: Entered, scale: Scale) -> AsyncIterator[list[Stack]]:
    """All three, side by side; only one at a time has work."""
    runners, slots = scale.of(RUNNERS, 1), scale.of(SLOTS, 2)
    async with stacks.ours(children, redis, entered, runners=runners, slots=slots) as ours:
        original = await stacks.original(children, redis, entered, runners=runners * slots)
        yield [ours, original, await stacks.floor(children, entered)]


async def launch_ms(http: aiohttp.ClientSession, stack: Stack, entered: Entered) -> float:
    number = next(numbers)
    sent = time.monotonic_ns()
    await stacks.join(http, stack, number)
    return (await entered.at(number) - sent) / 1e6


async def at_rate(http: aiohttp.ClientSession, stack: Stack, entered: Entered, count: int, per_s: float) -> list[float]:
    """So many launches, at random times with this mean rate, whatever becomes of the earlier ones."""
    loop, seed = asyncio.get_running_loop(), random.Random(7)  # noqa: S311
    due = loop.time()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for _ in range(count):
            due += seed.expovariate(per_s)
            await asyncio.sleep(due - loop.time())
            tasks.append(group.create_task(launch_ms(http, stack, entered)))
    return [task.result() for task in tasks]


async def one_by_one(http: aiohttp.ClientSession, stack: Stack, entered: Entered, count: int) -> list[float]:
    took = []
    for _ in range(count):
        took.append(await launch_ms(http, stack, entered))
        await stack.until_warm()
    return took


def note(figures: Figures, how: str, took: dict[str, list[float]]) -> None:
    ours, original, floor = took.values()
    figures.distribution(f"Launch, {how}, ms", took)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        figures.add(
            Figure(
                what=f"launch {how}, {name}",
                unit="ms",
                ours=percentile(ours, share),
                beside="original",
                other=percentile(original, share),
                at_most=0.5,
            )
        )
    figures.add(
        Figure(
            what=f"launch {how}, p50",
            unit="ms",
            ours=percentile(ours, 0.5),
            beside="floor",
            other=percentile(floor, 0.5),
            at_most=2.0,
        )
    )


@pytest.mark.parametrize("per_s", [0, 10, 50], ids=["one_by_one", "10_per_s", "50_per_s"])
async def test_launch(children: Children, redis: Redis, scale: Scale, figures: Figures, per_s: int) -> None:
    count, rounds = scale.of({0: 40, 10: 50, 50: 200}[per_s], 4), scale.of(5, 1)
    async with (
        listening() as entered,
        everyone(children, redis, entered, scale) as everybody,
        aiohttp.ClientSession() as http,
    ):
        took: dict[str, list[float]] = {stack.name: [] for stack in everybody}
        for turn in range(rounds + 1):
            for stack in everybody:
                await stack.until_warm()
                if per_s:
                    found = await at_rate(http, stack, entered, count, per_s)
                else:
                    found = await one_by_one(http, stack, entered, count)
                if turn or not scale.full:
                    took[stack.name] += found
    note(figures, f"at {per_s}/s" if per_s else "one by one", took)


async def test_launch_with_half_of_the_runners_freshly_killed(
    children: Children, redis: Redis, scale: Scale, figures: Figures
) -> None:
    """A killed runner refuses a connection at once here; in a cluster its address is silent for a whole second."""
    took: dict[str, list[float]] = {}
    async with listening() as entered, aiohttp.ClientSession() as http:
        for _ in range(scale.of(5, 1)):
            async with everyone(children, redis, entered, scale) as everybody:
                for stack in everybody:
                    for runner in stack.runners[::2] if len(stack.runners) > 1 else []:
                        runner.kill()
                    took.setdefault(stack.name, []).extend(await at_rate(http, stack, entered, scale.of(20, 2), 10))
            await children.stop()
            await redis.flushall()
    note(figures, "with half of the runners killed", took)
