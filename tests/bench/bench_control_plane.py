"""What a large fleet costs Redis, operators and runners, at rest and at work, and how that grows with its size."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import pytest

from shared.contract import CLAIMS, LAUNCH
from tests.bench import server_load
from tests.bench.conftest import Scale
from tests.bench.figures import Figure, Figures, percentile
from tests.bench.plane import OPERATORS, SESSIONS_OF_A_RUNNER, Plane, plane
from tests.bench.rush import Rush, rush
from tests.bench.server_load import Each, Load
from tests.processes import START_S, Children
from tests.script_calls import SCRIPTS

RUSHES_PER_S = (100.0, 200.0, 500.0)
FEWEST_PER_S = 10.0
STAY_S = 2.0
SETTLED_S = 10.0
WARM_PATH = ("offer", "claim", "report")
LINEAR, NOT_AT_ALL = 1.2, 1.2
"""What may grow so much without growing: for what belongs to each session, and for what belongs to a launch."""
UNDER = "Control plane:"

Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class Seen:
    """A fleet of one size."""

    sessions: int
    rest: Load
    services: dict[str, float]
    """What each kind of process needs at rest, in cores."""
    calls: dict[str, list[int]]
    """How long each call took on the server at rest, in µs, sorted."""
    warm: dict[str, list[int]]
    """The same while launches came and went."""
    launch: Each
    """What one took of the server, from the offer to the end of its session."""
    memory_mib: float
    connections: int

    @property
    def thousands(self) -> float:
        """Of sessions."""
        return self.sessions / 1000

    def middle_us(self, names: tuple[str, ...]) -> float:
        """These scripts one after the other, by their medians."""
        return sum(percentile(self.warm[name], 0.5) for name in names)

    def longest_ms(self) -> tuple[float, str]:
        """What 99 of 100 calls of one script do not exceed, of the longest of all scripts."""
        return max((percentile(took, 0.99) / 1000, name) for name, took in self.scripts().items())

    def scripts(self) -> dict[str, list[int]]:
        """All calls of scripts."""
        names = sorted(set(SCRIPTS.values()) & (self.calls.keys() | self.warm.keys()))
        return {name: sorted([*self.calls.get(name, ()), *self.warm.get(name, ())]) for name in names}


async def watched(made: Plane, sessions: int, scale: Scale) -> Seen:
    redis, count, per_s, turns = made.redis, scale.of(600, 5), scale.of(60.0, 50.0), scale.of(4, 1)
    needed = dict.fromkeys(made.cpu(), 0.0)

    async def at_rest() -> None:
        before = made.cpu()
        await asyncio.sleep(scale.of(10.0, 0.5))
        for kind, now in made.cpu().items():
            needed[kind] += now - before[kind]

    async def launched() -> None:
        await made.offer(count, per_s, scale.of(STAY_S, 0.05))
        await made.until_taken()
        await asyncio.sleep(scale.of(STAY_S, 0.2))

    rests, works = [], []
    for _ in range(turns):
        rests.append((await server_load.during(redis, at_rest))[0])
        works.append((await server_load.during(redis, launched))[0])
    rest, work = reduce(add, rests), reduce(add, works)
    calls = await server_load.each_call_us(redis, lambda: asyncio.sleep(scale.of(8.0, 0.5)))
    warm = await server_load.each_call_us(redis, launched)
    assert (await redis.xpending(LAUNCH, CLAIMS))["pending"] == sessions, "a session was lost, or is not over"
    return Seen(
        sessions=sessions,
        rest=rest,
        services={kind: cpu_s / rest.for_s for kind, cpu_s in needed.items()},
        calls=calls,
        warm=warm,
        launch=server_load.each(work, rest, count * turns),
        memory_mib=(await redis.info("memory"))["used_memory"] / 2**20,
        connections=(await redis.info("clients"))["connected_clients"],
    )


@pytest.mark.timeout(900)
async def test_a_fleet_of_ten_thousand_sessions(
    children: Children, tmp_path: Path, scale: Scale, figures: Figures, tell: Tell
) -> None:
    few, many = scale.of(1000, 10), scale.of(10_000, 40)
    found = []
    async with plane(children, tmp_path) as made:
        there = 0
        for sessions in (few, many):
            await made.grow((sessions - there) // SESSIONS_OF_A_RUNNER)
            await made.fill(sessions - there)
            there = sessions
            await asyncio.sleep(scale.of(SETTLED_S, 0.0))
            found.append(await watched(made, sessions, scale))
        rushes = [await rushed(made, per_s, scale) for per_s in RUSHES_PER_S[: scale.of(3, 1)]]
    for seen in found:
        tell_all(tell, seen)
    for one in rushes:
        tell(one.told(), UNDER)
        note_rush(figures, one, many)
    note(figures, *found)


async def rushed(made: Plane, per_s: float, scale: Scale) -> Rush:
    """Until the last of its sessions is over."""
    sessions = (await made.redis.xpending(LAUNCH, CLAIMS))["pending"]
    url = f"http://127.0.0.1:{made.port}"
    found = await rush(made.redis, url, scale.of(per_s, FEWEST_PER_S), scale.of(8.0, 0.5), made.cpu)
    await made.until_taken()
    async with asyncio.timeout(START_S):
        while (await made.redis.xpending(LAUNCH, CLAIMS))["pending"] > sessions:
            await asyncio.sleep(0.1)
    return found


def tell_all(tell: Tell, seen: Seen) -> None:
    needed = ", ".join(f"{kind} {cores:.2f}" for kind, cores in seen.services.items())
    tell(f"{seen.sessions} sessions at rest, in cores: Redis {seen.rest.cores:.3f}, {needed}", UNDER)
    tell(f"  Redis by command: {seen.rest.told()}", UNDER)
    tell(
        f"  Redis: {seen.memory_mib:.0f} MiB, {seen.connections} connections, "
        f"{seen.rest.bytes_per_s / 2**20:.2f} MiB/s",
        UNDER,
    )
    tell(f"  a launch: {seen.launch.told()}", UNDER)
    for name, took in seen.scripts().items():
        middle, high, highest = (percentile(took, share) for share in (0.5, 0.99, 0.999))
        longest = f"p99.9 {highest} µs, longest {took[-1]} µs"
        tell(f"  {name}.lua: {len(took)} calls, p50 {middle} µs, p99 {high} µs, {longest}", UNDER)


def note_rush(figures: Figures, found: Rush, sessions: int) -> None:
    # Some of those that began to wait just now are still waiting.
    rates = (("joins answered", found.answers.per_s, 0.99), ("taken by runners", found.begun_per_s, 0.95))
    for event, per_s, at_least in rates:
        what = f"{event} in a second, of {found.per_s:g} wanted, {sessions:,} sessions"
        figures.add(Figure(what=what, unit="/s", ours=per_s, beside="wanted", other=found.per_s, at_least=at_least))


def note(figures: Figures, few: Seen, many: Seen) -> None:
    figures.add(
        Figure(
            what=f"Redis with {many.sessions:,} sessions at rest",
            unit="% of a core",
            ours=many.rest.cores * 100,
            beside="limit",
            other=25.0,
            at_most=1.0,
        )
    )
    longest_ms, name = many.longest_ms()
    figures.add(
        Figure(
            what=f"longest script with {many.sessions:,} sessions, {name}.lua, p99",
            unit="ms",
            ours=longest_ms,
            beside="limit",
            other=5.0,
            at_most=1.0,
        )
    )

    def grown(what: str, unit: str, large: float, small: float, at_most: float) -> None:
        beside = f"{few.sessions:,}"
        what = f"{what}, {many.sessions:,} sessions"
        figures.add(Figure(what=what, unit=unit, ours=large, beside=beside, other=small, at_most=at_most))

    cores = {"Redis": (many.rest.cores, few.rest.cores)}
    cores |= {kind: (many.services[kind], few.services[kind]) for kind in ("operators", "runners")}
    for kind, (large, small) in cores.items():
        what = f"{kind} at rest, for each 1,000 sessions"
        grown(what, "% of a core", large * 100 / many.thousands, small * 100 / few.thousands, LINEAR)
    more = many.thousands - few.thousands
    needs = figures.needs
    needs["Redis, for 1,000 sessions at rest: processor"] = (many.rest.cores * 100 / many.thousands, "% of a core")
    needs["the same: memory"] = ((many.memory_mib - few.memory_mib) / more, "MiB")
    needs["the same: network, both ways"] = (many.rest.bytes_per_s / 2**10 / many.thousands, "KiB/s")
    needs["Redis, for a runner: connections"] = (many.connections * SESSIONS_OF_A_RUNNER / many.sessions, "")
    needs["Redis, for a launch, from the offer to the session's end"] = (many.launch.all_in_all, "µs of a core")
    supervisors = many.services["runners"] * 100 / many.thousands
    needs["supervisors, for 1,000 sessions at rest, 250 to a process"] = (supervisors, "% of a core")
    needs[f"one operator that only sweeps, with {many.sessions:,} sessions"] = (
        many.services["operators"] * 100 / OPERATORS,
        "% of a core",
    )
    grown("Redis for one launch", "µs", many.launch.all_in_all, few.launch.all_in_all, NOT_AT_ALL)
    middles = [seen.middle_us(WARM_PATH) for seen in (many, few)]
    grown("scripts of the warm path", "µs", middles[0], middles[1], NOT_AT_ALL)
