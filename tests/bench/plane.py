"""A large fleet: its server, five operators, twenty gateways, and simulated runners, as many as are wanted."""

import asyncio
import os
import shutil
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from shared.contract import Launch
from shared.launches import Launches
from shared.redis import connection
from shared.redis.connection import Redis
from tests.bench import stacks
from tests.bench.bench_events import cpu_of
from tests.processes import START_S, Child, Children, free_port
from tests.redis_server import EMBEDDED, RedisServer

SESSIONS_OF_A_RUNNER = 10
FREE_SLOTS = 2
RUNNERS_OF_A_PROCESS = 250
GATEWAYS, OPERATORS = 20, 5
"""Of the gateways one takes joins; the others follow the feeds."""
AT_ONCE = 100
OPTIONS = ("--slowlog-log-slower-than", "-1", "--maxclients", "15000")


@dataclass
class Plane:
    """All processes but the server's."""

    children: Children
    redis: Redis
    url: str
    operators: list[Child] = field(default_factory=list)
    runners: list[Child] = field(default_factory=list)
    gateways: list[Child] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    """Of the gateway that takes joins."""

    async def start_services(self) -> None:
        """Those whose number does not depend on that of the sessions."""
        env = {"REDIS_URL": self.url, "LAUNCHER": "none", "LOG_LEVEL": "warning"}
        self.operators = [self.children.service("operator", **env) for _ in range(OPERATORS)]
        gateway = self.children.service("gateway", GATEWAY_PORT=str(self.port), QUEUE_LIMIT="1000000", **env)
        readers = self._start("feed_readers", GATEWAYS - 1)
        self.gateways = [gateway, readers]
        await stacks.until_listening(f"http://127.0.0.1:{self.port}")
        await readers.said("ready", START_S * 5)

    async def grow(self, runners: int) -> None:
        """So many more runners."""
        started = [
            self._start("simulated_runners", min(RUNNERS_OF_A_PROCESS, runners - first))
            for first in range(0, runners, RUNNERS_OF_A_PROCESS)
        ]
        self.runners += started
        for child in started:
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


@asynccontextmanager
async def plane(children: Children, folder: Path) -> AsyncIterator[Plane]:
    """A server, from which nothing takes the processor, as in earnest nothing does, and what does not grow with it."""
    server = RedisServer(shutil.which("redis-server") or EMBEDDED, folder, *OPTIONS)
    server.start()
    with suppress(PermissionError):
        os.sched_setscheduler(server.pid, os.SCHED_FIFO, os.sched_param(1))
    try:
        async with connection.connect(server.url) as redis:
            made = Plane(children, redis, server.url)
            await made.start_services()
            yield made
            for child in (*made.operators, *made.gateways, *made.runners):
                assert child.exit_code is None, child.output()[-2000:]
                child.kill()
    finally:
        server.kill()
