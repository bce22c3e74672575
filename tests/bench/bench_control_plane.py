"""What a large fleet costs Redis, operators and runners, at rest and at work, and how that grows with its size."""

import asyncio
import os
import shutil
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.contract import CLAIMS, LAUNCH, Launch
from shared.launches import Launches
from shared.redis import connection
from shared.redis.connection import Redis
from tests.bench import server_load
from tests.bench.bench_events import cpu_of
from tests.bench.conftest import Scale
from tests.bench.figures import Figure, Figures, percentile
from tests.bench.server_load import Load
from tests.processes import START_S, Child, Children
from tests.redis_server import EMBEDDED, RedisServer
from tests.script_calls import SCRIPTS

SESSIONS_OF_A_RUNNER = 10
FREE_SLOTS = 2
RUNNERS_OF_A_PROCESS = 250
GATEWAYS, OPERATORS = 20, 5
AT_ONCE = 100
OPTIONS = ("--slowlog-log-slower-than", "-1", "--maxclients", "15000")
STAY_S = 2.0
SETTLED_S = 10.0
WARM_PATH = ("offer", "claim", "report")
LINEAR, NOT_AT_ALL = 1.2, 1.2
"""What may grow so much without growing: for what belongs to each session, and for what belongs to a launch."""
UNDER = "Control plane:"

Tell = Callable[[str, str], None]


@dataclass
class Plane:
    """All processes but the server's."""

    children: Children
    redis: Redis
    url: str
    operators: list[Child] = field(default_factory=list)
    runners: list[Child] = field(default_factory=list)
    gateways: list[Child] = field(default_factory=list)

    def start_services(self) -> None:
        """Those whose number does not depend on that of the sessions."""
        env = {"REDIS_URL": self.url, "LAUNCHER": "none"}
        self.operators = [self.children.service("operator", **env) for _ in range(OPERATORS)]
        self.gateways = [self._start("feed_readers", GATEWAYS)]

    async def grow(self, runners: int) -> None:
        """So many more runners."""
        started = [
            self._start("simulated_runners", min(RUNNERS_OF_A_PROCESS, runners - first))
            for first in range(0, runners, RUNNERS_OF_A_PROCESS)
        ]
        self.runners += started
        for child in (*self.gateways, *started):
            await child.said("ready", START_S * 5)

    def _start(self, module: str, count: int) -> Child:
        slots = str(SESSIONS_OF_A_RUNNER + FREE_SLOTS)
        command = [sys.executable, "-m", f"tests.bench.{module}", str(count)]
        return self.children.start(module, command, (), REDIS_URL=self.url, RUNNER_SLOTS=slots, LOG_LEVEL="warning")

    async def offer(self, count: int, per_s: float, stay_s: float = 0.0) -> None:
        """So many sessions, at this rate; those without a time of their own stay."""
        launches = Launches(self.redis)
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await asyncio.sleep(max(0.0, began + number / per_s - time.monotonic()))
                group.create_task(launches.offer(a_launch(stay_s), queue_limit=1_000_000))

    async def fill(self, sessions: int) -> None:
        """So many that stay, as fast as they are taken."""
        for first in range(0, sessions, AT_ONCE):
            await self.offer(min(AT_ONCE, sessions - first), 1000.0)
            await self.until_taken()

    async def until_taken(self) -> None:
        """Returns when no launch waits."""
        async with asyncio.timeout(START_S * 5):
            while await Launches(self.redis).depth():
                await asyncio.sleep(0.2)

    def cpu(self) -> dict[str, float]:
        """CPU time so far, in seconds."""
        kinds = {"operators": self.operators, "runners": self.runners, "gateways": self.gateways}
        return {kind: sum(cpu_of(child) for child in found) for kind, found in kinds.items()}


def a_launch(stay_s: float) -> Launch:
    session_id = str(uuid.uuid4())
    return Launch(
        session_id=session_id,
        room_url=f"https://example.daily.co/{session_id}",
        token="x" * 300,
        transport="daily",
        body={"stay_s": stay_s, "greeting": "x" * 200},
        deadline_s=600.0,
        max_duration_s=4 * 3600.0,
    )


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
    launch_us: float
    """CPU time of the server for one launch, from the offer to the end of its session."""
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


@asynccontextmanager
async def plane(children: Children, folder: Path) -> AsyncIterator[Plane]:
    server = RedisServer(shutil.which("redis-server") or EMBEDDED, folder, *OPTIONS)
    server.start()
    with suppress(PermissionError):
        # It has a core to itself in earnest, and is not to wait for a thousand runners on two.
        os.setpriority(os.PRIO_PROCESS, server.pid, -10)
    try:
        async with connection.connect(server.url) as redis:
            made = Plane(children, redis, server.url)
            made.start_services()
            yield made
            for child in (*made.operators, *made.gateways, *made.runners):
                assert child.exit_code is None, child.output()[-2000:]
                child.kill()
    finally:
        server.kill()


async def watched(made: Plane, sessions: int, scale: Scale) -> Seen:
    redis, count, per_s = made.redis, scale.of(200, 5), scale.of(20.0, 50.0)

    async def launched() -> None:
        await made.offer(count, per_s, scale.of(STAY_S, 0.05))
        await made.until_taken()
        await asyncio.sleep(scale.of(STAY_S, 0.2))

    before = made.cpu()
    rest = await server_load.during(redis, lambda: asyncio.sleep(scale.of(15.0, 0.5)))
    services = {kind: (now - before[kind]) / rest.for_s for kind, now in made.cpu().items()}
    calls = await server_load.each_call_us(redis, lambda: asyncio.sleep(scale.of(8.0, 0.5)))
    work = await server_load.during(redis, launched)
    warm = await server_load.each_call_us(redis, launched)
    assert (await redis.xpending(LAUNCH, CLAIMS))["pending"] == sessions, "a session was lost, or is not over"
    return Seen(
        sessions=sessions,
        rest=rest,
        services=services,
        calls=calls,
        warm=warm,
        launch_us=(work.cpu_s - rest.cores * work.for_s) / count * 1e6,
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
    for seen in found:
        tell_all(tell, seen)
    note(figures, *found)


def tell_all(tell: Tell, seen: Seen) -> None:
    needed = ", ".join(f"{kind} {cores:.2f}" for kind, cores in seen.services.items())
    tell(f"{seen.sessions} sessions at rest, in cores: Redis {seen.rest.cores:.3f}, {needed}", UNDER)
    tell(f"  Redis by command: {seen.rest.told()}", UNDER)
    tell(
        f"  Redis: {seen.memory_mib:.0f} MiB, {seen.connections} connections, "
        f"{seen.rest.bytes_per_s / 2**20:.2f} MiB/s; {seen.launch_us:.0f} µs of CPU for a launch",
        UNDER,
    )
    for name, took in seen.scripts().items():
        middle, high, highest = (percentile(took, share) for share in (0.5, 0.99, 0.999))
        longest = f"p99.9 {highest} µs, longest {took[-1]} µs"
        tell(f"  {name}.lua: {len(took)} calls, p50 {middle} µs, p99 {high} µs, {longest}", UNDER)


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
    needs["Redis, for a launch, from the request to the session's end"] = (many.launch_us, "µs of a core")
    needs["supervisors, for 1,000 sessions at rest"] = (many.services["runners"] * 100 / many.thousands, "% of a core")
    needs[f"one operator, with {many.sessions:,} sessions"] = (
        many.services["operators"] * 100 / OPERATORS,
        "% of a core",
    )
    grown("Redis for one launch", "µs", many.launch_us, few.launch_us, NOT_AT_ALL)
    middles = [seen.middle_us(WARM_PATH) for seen in (many, few)]
    grown("scripts of the warm path", "µs", middles[0], middles[1], NOT_AT_ALL)
