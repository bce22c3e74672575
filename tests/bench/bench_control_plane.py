"""What a large fleet costs Redis, operators and runners, at rest and at work, and how that grows with its size."""

import asyncio
import shutil
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared import redis_connection
from shared.contract import CLAIMS, EVENTS, Launch, Queued, Starting
from shared.entries import milliseconds
from shared.events import decode
from shared.launches import Launches
from shared.redis_connection import Redis
from shared.streams import between
from tests.bench import server_load
from tests.bench.bench_events import cpu_of
from tests.bench.conftest import Scale
from tests.bench.figures import Figure, Figures, percentile
from tests.bench.server_load import Load
from tests.processes import START_S, Child, Children
from tests.redis_server import EMBEDDED, RedisServer

SESSIONS_OF_A_RUNNER = 10
FREE_SLOTS = 2
RUNNERS_OF_A_PROCESS = 250
GATEWAYS, OPERATORS = 20, 5
STAY_S = 2.0
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
        started = []
        for first in range(0, runners, RUNNERS_OF_A_PROCESS):
            started.append(self._start("simulated_runners", min(RUNNERS_OF_A_PROCESS, runners - first)))
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

    idle: Load
    cpu: dict[str, float]
    """Of the services, in cores."""
    calls: dict[str, list[int]]
    """Of the fleet at rest, and of launches: how long they took on the server, in µs."""
    launches: Load
    to_starting_ms: list[int]


@asynccontextmanager
async def plane(children: Children, folder: Path) -> AsyncIterator[Plane]:
    server = RedisServer(shutil.which("redis-server") or EMBEDDED, folder, "--slowlog-log-slower-than", "-1")
    server.start()
    try:
        async with redis_connection.connect(server.url) as redis:
            made = Plane(children, redis, server.url)
            made.start_services()
            yield made
            for child in (*made.operators, *made.gateways, *made.runners):
                assert child.exit_code is None, child.output()[-2000:]
                child.kill()
    finally:
        server.kill()


async def watched(made: Plane, sessions: int, scale: Scale) -> Seen:
    rest_s = scale.of(15.0, 0.5)
    before = made.cpu()
    idle = await server_load.during(made.redis, lambda: asyncio.sleep(rest_s))
    cpu = {kind: (now - before[kind]) / idle.for_s for kind, now in made.cpu().items()}
    calls = await server_load.each_call_us(made.redis, lambda: asyncio.sleep(scale.of(5.0, 0.5)))
    began = str(time.time_ns() // 1_000_000)
    count, per_s = scale.of(400, 5), scale.of(40.0, 50.0)

    async def work() -> None:
        await made.offer(count, per_s, STAY_S if scale.full else 0.1)
        await made.until_taken()

    launches = await server_load.during(made.redis, lambda: server_work(made, work, calls))
    assert (await made.redis.xpending("{bot}:launch", CLAIMS))["pending"] >= sessions
    return Seen(idle, cpu, calls, launches, await times_to_starting(made.redis, began))


async def server_work(made: Plane, work, calls) -> None:
    calls.update(
        {
            f"{name}": took
            for name, took in (await server_load.each_call_us(made.redis, work)).items()
            if name in {"offer", "claim", "report", "finish"}
        }
    )


async def times_to_starting(redis: Redis, since: str) -> list[int]:
    """Between the entries `queued` and `starting`, by the server's clock."""
    queued, took = {}, []
    for entry, event in decode(await between(redis, EVENTS, since)):
        if isinstance(event, Queued):
            queued[event.session_id] = milliseconds(entry)
        elif isinstance(event, Starting) and event.session_id in queued:
            took.append(milliseconds(entry) - queued[event.session_id])
    return sorted(took)


@pytest.mark.timeout(900)
async def test_a_fleet_of_ten_thousand_sessions(
    children: Children, tmp_path: Path, scale: Scale, figures: Figures, tell: Tell
) -> None:
    sizes = (scale.of(1000, 10), scale.of(10_000, 40))
    found = {}
    async with plane(children, tmp_path) as made:
        there = 0
        for sessions in sizes:
            await made.grow((sessions - there) // SESSIONS_OF_A_RUNNER)
            await made.offer(sessions - there, scale.of(200.0, 100.0))
            there = sessions
            await made.until_taken()
            await asyncio.sleep(scale.of(10.0, 0.0))
            seen = found[sessions] = await watched(made, sessions, scale)
            tell(f"{sessions} sessions at rest: Redis {seen.idle.cores:.1%} of a core ({seen.idle.told()})", UNDER)
            tell(f"{sessions} sessions at rest: {seen.cpu}", UNDER)
            for name, took in sorted(seen.calls.items()):
                tell(
                    f"  {name}: {len(took)} calls, p50 {percentile(took, 0.5)} p99 {percentile(took, 0.99)} max {took[-1]} us",
                    UNDER,
                )
            tell(
                f"launches: Redis {seen.launches.cpu_s} s cpu ({seen.launches.told()}), to starting {percentile(seen.to_starting_ms, 0.5)} {percentile(seen.to_starting_ms, 0.99)} ms",
                UNDER,
            )
