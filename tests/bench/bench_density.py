"""What a warm slot costs in memory, beside the same bot in a fresh process of its own."""

import statistics
import sys

import pytest

from services.runner.process_names import SESSION_PROCESS, ZYGOTE
from services.runner.settings import BUILT_IN
from shared.redis_connection import Redis
from tests.bench import memory
from tests.bench.conftest import Scale
from tests.bench.figures import Figure, Figures
from tests.processes import START_S, Children, Fleet, children_called

SUPERVISOR_MIB = 60.0
BOT = BUILT_IN


@pytest.mark.parametrize("slots", [1, 4, 16])
async def test_memory_of_warm_slots(
    children: Children, redis: Redis, scale: Scale, figures: Figures, slots: int
) -> None:
    slots = scale.of(slots, 1)
    fleet = Fleet(children, redis, {"BOT": BOT, "RUNNER_SLOTS": str(slots)})
    runner = fleet.add_runner()
    fresh = children.start("fresh", [sys.executable, "-m", "tests.bench.fresh_bot", BOT])
    await fleet.until_free(slots)
    await fresh.said("ready", START_S)
    processes = [memory.of(pid) for pid in children_called(SESSION_PROCESS, runner.pid)]
    (zygote,) = children_called(ZYGOTE, runner.pid)
    assert len(processes) == slots
    alone, supervisor, mould = memory.of(fresh.pid), memory.of(runner.pid), memory.of(zygote)
    await fleet.aclose()
    slot = statistics.median(process.private for process in processes)
    whole = slot + (supervisor.private + mould.private) / slots
    of = f"{slots} slots" if slots > 1 else "1 slot"
    figures.add(
        Figure(
            what=f"private memory of a warm slot, runner with {of}",
            unit="MiB",
            ours=slot,
            beside="fresh process",
            other=alone.private,
            at_most=0.2,
        )
    )
    figures.add(
        Figure(
            what=f"the same with its share of supervisor and mould, {of}",
            unit="MiB",
            ours=whole,
            beside="fresh process",
            other=alone.private,
        )
    )
    figures.add(
        Figure(
            what=f"private memory of the supervisor, {of}",
            unit="MiB",
            ours=supervisor.private,
            beside="limit",
            other=SUPERVISOR_MIB,
            at_most=1.0,
        )
    )
