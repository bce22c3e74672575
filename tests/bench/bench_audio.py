"""Whether a bot sounds with all slots busy as it does alone: how many of its frames leave late, how late loops turn."""

import asyncio
import itertools
import statistics
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from shared.redis.connection import Redis
from tests.bench import probe
from tests.bench.conftest import Scale
from tests.bench.entered import Entered, listening
from tests.bench.figures import Figure, Figures, percentile
from tests.processes import START_S, Children, Fleet
from tests.test_webrtc_call import caller
from tests.waiting import until

SLOTS = 4
STORM_SLOTS, STORM_PER_S = 1, 2.0
SPEECH = "One two three four five six seven eight nine ten. " * 20
BEGINNING_S = 1.0
"""After all bots were heard: connections are made and first sentences spoken, many in the same moment."""
ALONE, FULL, STORM = "one bot alone", "all slots busy", "launches go on beside"
numbers = itertools.count(1)


@dataclass(frozen=True)
class Phase:
    """A part of calls that went on side by side."""

    notes: tuple[Path, ...]
    began: float
    ended: float

    def frames(self) -> list[float]:
        """How late each left, in milliseconds."""
        return [late for note in self.notes for late in probe.within(note, "frames", self.began, self.ended)]

    def cores(self) -> list[float]:
        """What each session process needed."""
        used_ms = [probe.within(note, "cpu", self.began, self.ended) for note in self.notes]
        return [(one[-1] - one[0]) / 1000 / (self.ended - self.began) for one in used_ms]

    def lags(self) -> list[float]:
        """How late the sessions' event loops turned."""
        return [late for note in self.notes for late in probe.within(note, "lags", self.began, self.ended)]


async def calls(fleet: Fleet, folder: Path, count: int, for_s: float) -> tuple[Phase, Phase]:
    """Their beginning, from the moment in which all bots were heard, and what came then."""
    async with AsyncExitStack() as stack:
        joined = [await fleet.join(transport="webrtc", body={"greeting": SPEECH}) for _ in range(count)]
        ids = [str(one["session_id"]) for one in joined]
        peers = await asyncio.gather(*(stack.enter_async_context(caller(fleet, one)) for one in ids))
        await asyncio.gather(*(peer.wait_for_sound(30) for peer in peers))
        began = time.monotonic()
        await asyncio.sleep(BEGINNING_S + for_s)
        ended = time.monotonic()
        for one in ids:
            assert (await fleet.http.delete(f"/sessions/{one}")).status_code == 202
        notes = tuple(folder / f"{one}.json" for one in ids)
        await until(lambda: all(note.exists() for note in notes), 30)
    return Phase(notes, began, began + BEGINNING_S), Phase(notes, began + BEGINNING_S, ended)


async def storm(fleet: Fleet, entered: Entered) -> None:
    """Launches of a bot that returns at once, each of which costs a slot's refill."""
    while True:
        number = next(numbers)
        await fleet.join(transport="none", agent="brief", body={"number": number})
        await entered.at(number)
        await asyncio.sleep(1 / STORM_PER_S)


async def test_a_full_runner_does_not_make_calls_sound_worse(
    children: Children, redis: Redis, scale: Scale, figures: Figures, tmp_path: Path
) -> None:
    slots, for_s = scale.of(SLOTS, 1), scale.of(6.0, 0.5)
    beginnings: dict[str, list[Phase]] = defaultdict(list)
    phases: dict[str, list[Phase]] = defaultdict(list)
    async with listening() as entered:
        env = {
            "BOT": "tests.bench.bots.measured",
            "BOTS": "brief=tests.bench.bots.entering",
            "BENCH_NOTES": str(tmp_path),
            "BENCH_ENTERED": entered.address,
            "RUNNER_SLOTS": str(slots),
        }
        fleet = Fleet(children, redis, env)
        runner = children.start("runner", [sys.executable, "-m", "tests.bench.probed_runner"], (), **env)
        for _ in range(scale.of(3, 1)):
            for name, count in ((ALONE, 1), (FULL, slots), (STORM, slots - STORM_SLOTS)):
                if count < 1:
                    continue
                await fleet.until_counted(START_S, free=slots, busy=0)
                async with asyncio.TaskGroup() as group:
                    beside = group.create_task(storm(fleet, entered)) if name == STORM else None
                    beginning, phase = await calls(fleet, tmp_path, count, for_s)
                    beginnings[name].append(beginning)
                    phases[name].append(phase)
                    if beside:
                        beside.cancel()
        runner.terminate()
        assert await runner.wait(30) == 0
        await fleet.aclose()
    note_all(figures, phases, tmp_path / "supervisor.json")
    note_beginnings(figures, beginnings)


def note_all(figures: Figures, phases: dict[str, list[Phase]], supervisor: Path) -> None:
    frames = frames_of(phases)
    lags = {name: [late for phase in found for late in phase.lags()] for name, found in phases.items()}
    supervisors = {
        name: [late for phase in found for late in probe.within(supervisor, "lags", phase.began, phase.ended)]
        for name, found in phases.items()
    }
    figures.distribution("Frames leave late, ms", frames)
    figures.distribution("Event loops of session processes turn late, ms", lags)
    figures.distribution("Event loop of the supervisor turns late, ms", supervisors)
    cores = {name: statistics.fmean(one for phase in found for one in phase.cores()) for name, found in phases.items()}
    spoken_to = "a call in which the assistant speaks to a silent caller: processor"
    figures.needs[spoken_to] = (cores[ALONE] * 100, "% of a core")
    for name in [name for name in phases if name != ALONE]:
        figures.add(
            Figure(
                what=f"processor for a call, {name}",
                unit="% of a core",
                ours=cores[name] * 100,
                beside=ALONE,
                other=cores[ALONE] * 100,
            )
        )
        figures.add(
            Figure(
                what=f"frames that leave within {probe.FRAME_MS:g} ms of their time, {name}",
                unit="%",
                ours=in_time(frames[name]),
                beside=ALONE,
                other=in_time(frames[ALONE]),
                at_least=0.99,
            )
        )
        for whose, found in (("frames leave late", frames), ("a session's event loop is late", lags)):
            add_p99(figures, f"{whose}, {name}", found[name], found[ALONE])
        add_p99(figures, f"the supervisor's event loop is late, {name}", supervisors[name], supervisors[ALONE])


def note_beginnings(figures: Figures, beginnings: dict[str, list[Phase]]) -> None:
    frames = frames_of(beginnings)
    figures.distribution(f"Frames leave late in the first {BEGINNING_S:g} s, ms", frames)
    if FULL in frames:
        what = f"frames in time in the first {BEGINNING_S:g} s, calls in all slots at once"
        ours, alone = in_time(frames[FULL]), in_time(frames[ALONE])
        figures.add(Figure(what=what, unit="%", ours=ours, beside=ALONE, other=alone))
        add_p99(figures, f"frames leave late in the first {BEGINNING_S:g} s, the same", frames[FULL], frames[ALONE])


def frames_of(phases: dict[str, list[Phase]]) -> dict[str, list[float]]:
    """How late each left."""
    return {name: [late for phase in found for late in phase.frames()] for name, found in phases.items()}


def add_p99(figures: Figures, what: str, ours: list[float], alone: list[float]) -> None:
    figures.add(
        Figure(what=f"{what}, p99", unit="ms", ours=percentile(ours, 0.99), beside=ALONE, other=percentile(alone, 0.99))
    )


def in_time(late_ms: list[float]) -> float:
    """The share, in percent."""
    return 100 * sum(late <= probe.FRAME_MS for late in late_ms) / len(late_ms)
