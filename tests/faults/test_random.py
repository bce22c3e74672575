"""Anything at any time: joins, leaves and several faults at once, chosen by a seed that the run prints.

`FAULT_SEED` repeats the choices of a run, `FAULT_SECONDS` says for how long to go on.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from shared.contract import Reason, Status
from tests.faults.bench import Bench
from tests.faults.conftest import StartBench, Tell
from tests.faults.matrix import ROWS, Fault, Target

HEADING = "The random run:"
ROUND_S = 10.0
"""So long faults are dealt out; then all must come to its end, and nothing may be left over."""
RUNNERS = 2
BUSY = 10
"""With this many calls that are not over, no more are made."""
MAY_FAIL = {Reason.DEADLINE, Reason.BOT_DIED, Reason.RUNNER_LOST, Reason.LEASE_LOST}


@dataclass(frozen=True)
class Step:
    """One thing to do, and how long to wait after it."""

    then_wait_s: float
    join: dict[str, Any] | None = None
    gateway: int = 0
    leave: int | None = None
    """Which of the calls that are not over is told to leave, counted from the oldest and around."""
    strike: tuple[Target, Fault] | None = None
    runner: int = 0


def plan(seed: str) -> Iterator[Step]:
    """The steps of a seed: the same ones every time, whatever happens to them."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    while True:
        pause_s = chance.choice([0.0, 0.05, 0.2, 0.5])
        match chance.choice(["join", "join", "join", "leave", "strike"]):
            case "join":
                body = {
                    "do": chance.choice(["stay", "stay", "return", "die"]),
                    "stay_s": chance.choice([0.0, 0.1, 1.0]),
                    "enter_s": chance.choice([0.0, 0.0, 0.0, 0.5]),
                    "leave_s": chance.choice([0.0, 0.0, 0.3, 1.0]),
                }
                yield Step(pause_s, join=body, gateway=chance.randrange(2))
            case "leave":
                yield Step(pause_s, leave=chance.randrange(100), gateway=chance.randrange(2))
            case _:
                yield Step(pause_s, strike=chance.choice(ROWS), runner=chance.randrange(RUNNERS))


class Round:
    """One stretch of the run. A target is not struck again before it has recovered."""

    def __init__(self, bench: Bench) -> None:
        self.struck: Counter[str] = Counter()
        self._bench = bench
        self._under_fault: set[Target] = set()

    async def run(self, steps: Iterator[Step], group: asyncio.TaskGroup) -> None:
        """Do what there is to do until the time is up; the group waits for what takes longer."""
        until = time.monotonic() + ROUND_S
        for step in steps:
            if step.join is not None and sum(not call.over for call in self._bench.callers.calls) < BUSY:
                group.create_task(self._bench.callers.join(gateway=step.gateway, **step.join))
            if step.leave is not None:
                await self._leave(step.leave, step.gateway, group)
            if step.strike and step.strike[0] not in self._under_fault:
                self._under_fault.add(step.strike[0])
                group.create_task(self._strike(*step.strike, step.runner))
            await asyncio.sleep(step.then_wait_s)
            if time.monotonic() > until:
                return

    async def _leave(self, which: int, gateway: int, group: asyncio.TaskGroup) -> None:
        await self._bench.callers.look()
        calls = [call for call in self._bench.callers.calls if not call.over and not call.told]
        if calls:
            group.create_task(self._bench.callers.dismiss(calls[which % len(calls)], gateway=gateway))

    async def _strike(self, target: Target, fault: Fault, runner: int) -> None:
        print(f"{time.monotonic():.3f} {target} {runner} {fault}", flush=True)  # noqa: T201 - seen when it fails
        self.struck[f"{target} {fault}"] += 1
        await self._bench.strike(target, fault, runner)
        self._under_fault.discard(target)


@pytest.mark.slow
@pytest.mark.timeout(0)
async def test_whatever_happens_whenever_no_call_is_lost_or_doubled_and_nothing_is_left_over(
    bench_of: StartBench, tell: Tell
) -> None:
    seed = os.environ.get("FAULT_SEED") or str(random.SystemRandom().randrange(10**6))
    seconds = float(os.environ.get("FAULT_SECONDS") or 60)
    print(f"FAULT_SEED={seed}", flush=True)  # noqa: T201 - how to have it again
    until = time.monotonic() + seconds
    rounds, struck, accepted, restarted, silence_s = 0, Counter[str](), 0, 0, 0.0
    async with bench_of(cabled=True, runners=RUNNERS, MAX_ATTEMPTS="10") as bench:
        try:
            for number in count(1):
                one = Round(bench)
                async with asyncio.TaskGroup() as group:
                    await one.run(plan(f"{seed}/{number}"), group)
                await bench.callers.see_to_end(60)
                failed = [call for call in bench.callers.calls if call.now and call.now.status is Status.FAILED]
                lost = [call.story() for call in failed if call.now and call.now.reason not in MAY_FAIL]
                assert lost == [], "\n".join(lost)
                row = await bench.judge("host", "SIGSTOP", "running")
                rounds, struck = number, struck + one.struck
                accepted, restarted = accepted + row.accepted, restarted + row.restarted
                silence_s = max(silence_s, row.silence_s)
                if time.monotonic() > until:
                    break
        finally:
            tell(
                f"FAULT_SEED={seed}: {rounds} rounds, {struck.total()} faults, {accepted} sessions, "
                f"{restarted} restarted, longest silence {silence_s:.2f} s",
                HEADING,
            )
