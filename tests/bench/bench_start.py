"""How long a runner takes to its first warm slot, a slot to be filled again, and a cold runner to its bot."""

import asyncio
import itertools
import statistics
import sys
import time
from pathlib import Path

from services.runner.forking.process_names import SESSION_PROCESS
from services.runner.settings import BUILT_IN
from shared.redis.connection import Redis
from tests.bench import stacks
from tests.bench.conftest import Scale
from tests.bench.entered import listening
from tests.bench.figures import Figure, Figures
from tests.launching import offer
from tests.processes import START_S, Children, Fleet, children_called

BOT = BUILT_IN
BARE = "import time, {module}; print('ready %d' % time.monotonic_ns(), flush=True)"


async def started_s(children: Children, name: str, command: list[str], **env: str) -> float:
    """From the start of a process until it says that it is ready."""
    began = time.monotonic_ns()
    child = children.start(name, command, (), **env)
    await child.said("ready", START_S)
    child.kill()
    await child.wait()
    return (int(child.output().split("ready ")[1].split()[0]) - began) / 1e9


async def runner_s(fleet: Fleet) -> float:
    """From the start of a runner until it says that a slot is warm."""
    began = time.monotonic()
    runner = fleet.add_runner()
    async with asyncio.timeout(START_S):
        while not children_called(SESSION_PROCESS, runner.pid):
            await asyncio.sleep(0.002)
        await fleet.until_free(1)
    took = time.monotonic() - began
    runner.terminate()
    await runner.wait()
    fleet.runners.remove(runner)
    return took


async def test_start_of_a_runner(children: Children, redis: Redis, scale: Scale, figures: Figures) -> None:
    fleet = Fleet(children, redis, {"BOT": BOT})
    bare, runner = [], []
    for _ in range(scale.of(6, 1)):
        bare.append(await started_s(children, "bare", [sys.executable, "-c", BARE.format(module=BOT)]))
        runner.append(await runner_s(fleet))
    await fleet.aclose()
    figures.distribution("Start of a runner, s", {"first slot warm": runner, "bare import": bare})
    figures.add(
        Figure(
            what="start of a runner to its first warm slot",
            unit="s",
            ours=statistics.median(runner),
            beside="import in a bare interpreter",
            other=statistics.median(bare),
            at_most=1.2,
        )
    )


async def test_refill_of_a_slot(children: Children, redis: Redis, scale: Scale, figures: Figures) -> None:
    """With one slot and a queue: from one bot, which returns at once, to the next."""
    count, command = scale.of(21, 3), [sys.executable, "-m", "tests.bench.fresh_bot", stacks.BOT]
    async with listening() as entered:
        for number in range(count):
            await offer(redis, body={"number": number})
        runner = children.service("runner", BOT=stacks.BOT, BENCH_ENTERED=entered.address)
        at = [await entered.at(number, START_S) for number in range(count)]
        runner.terminate()
        await runner.wait()
    refill = [(later - earlier) / 1e9 for earlier, later in itertools.pairwise(at)]
    fresh = [await started_s(children, "fresh", command) for _ in range(scale.of(5, 1))]
    figures.add(
        Figure(
            what="refill of a slot: from a bot's end to the next bot's function",
            unit="s",
            ours=statistics.median(refill),
            beside="fresh process",
            other=statistics.median(fresh),
            at_most=0.1,
        )
    )


async def test_cold_runner(children: Children, redis: Redis, scale: Scale, figures: Figures, tmp_path: Path) -> None:
    cold, bare = [], []
    async with listening() as entered:
        for number in range(scale.of(5, 1)):
            await offer(redis, body={"number": number})
            began = time.monotonic_ns()
            runner = children.service("runner", RUNNER_AUTO_START="1", BOT=stacks.BOT, BENCH_ENTERED=entered.address)
            cold.append((await entered.at(number, START_S) - began) / 1e9)
            await runner.wait()
            bare.append(await started_s(children, "bare", [sys.executable, "-c", BARE.format(module=stacks.BOT)]))
    figures.add(
        Figure(
            what="cold runner to its bot's function",
            unit="s",
            ours=statistics.median(cold),
            beside="import of the same bot",
            other=statistics.median(bare),
        )
    )
