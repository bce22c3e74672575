"""The three things that launches are measured on: this fleet, the original design, and the floor."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp

from shared.redis.connection import Redis
from tests.bench.entered import Entered
from tests.processes import START_S, Child, Children, Fleet, free_port

BOT = "tests.bench.bots.entering"


class Stack(Protocol):
    """Takes joins; its bots say when they were entered."""

    name: str

    @property
    def url(self) -> str:
        """Of its gateway."""

    @property
    def runners(self) -> Sequence[Child]:
        """Those that live."""

    async def until_warm(self) -> None:
        """Returns when as many bots can be taken at once as there is room for."""


@dataclass
class Ours:
    """Runners with slots."""

    fleet: Fleet
    slots: int
    name: str = "pipefleet"

    @property
    def url(self) -> str:
        """Of the gateway."""
        return str(self.fleet.http.base_url)

    @property
    def runners(self) -> Sequence[Child]:
        """Those that live."""
        return [runner for runner in self.fleet.runners if runner.exit_code is None]

    async def until_warm(self) -> None:
        """By what the gateway says."""
        await self.fleet.until_counted(free=len(self.runners) * self.slots, busy=0)


@dataclass
class Original:
    """One session for each runner."""

    redis: Redis
    url: str
    runners: list[Child] = field(default_factory=list)
    name: str = "original design"

    async def until_warm(self) -> None:
        """By what is in the pool, dead ones included: nobody takes them out."""
        async with asyncio.timeout(START_S):
            while await _length(self.redis, "bot:pool") < len(self.runners):
                await asyncio.sleep(0.02)


@dataclass
class Floor:
    """No runners at all."""

    url: str
    runners: Sequence[Child] = ()
    name: str = "floor"

    async def until_warm(self) -> None:
        """Always."""


async def join(http: aiohttp.ClientSession, stack: Stack, number: int, **body: Any) -> None:
    """One request for a room of its own."""
    room = {"transport": "none"} if isinstance(stack, Ours) else {"room_url": f"https://example.daily.co/{number}"}
    async with http.post(f"{stack.url}/join", json={**room, "body": {"number": number, **body}}) as answer:
        await answer.read()
        assert answer.ok, answer.status


@asynccontextmanager
async def ours(children: Children, redis: Redis, entered: Entered, *, runners: int, slots: int) -> AsyncIterator[Ours]:
    """All services with their defaults, but for the bot and the number of slots."""
    env = {"BOT": BOT, "RUNNER_SLOTS": str(slots), "LAUNCHER": "none", "BENCH_ENTERED": entered.address}
    fleet = Fleet(children, redis, env)
    try:
        fleet.start("operator")
        for _ in range(runners):
            fleet.add_runner()
        stack = Ours(fleet, slots)
        await stack.until_warm()
        yield stack
    finally:
        await fleet.aclose()


def original_runner(children: Children, entered: Entered) -> Child:
    """One process."""
    return children.start(
        "original-runner",
        [sys.executable, "-m", "tests.bench.original.runner"],
        PORT=str(free_port()),
        BOT=BOT,
        BENCH_ENTERED=entered.address,
    )


async def original(children: Children, redis: Redis, entered: Entered, *, runners: int) -> Original:
    """Gateway, operator and runners of the original design."""
    url = await original_gateway(children)
    children.start("original-operator", [sys.executable, "-m", "tests.bench.original.operator_loop"])
    stack = Original(redis, url, [original_runner(children, entered) for _ in range(runners)])
    await stack.until_warm()
    return stack


async def original_gateway(children: Children) -> str:
    """Its URL."""
    port = str(free_port())
    children.start("original-gateway", [sys.executable, "-m", "tests.bench.original.gateway"], PORT=port)
    await until_listening(url := f"http://127.0.0.1:{port}")
    return url


async def floor(children: Children, entered: Entered) -> Floor:
    """A gateway and a reader."""
    port = str(free_port())
    children.start("floor-gateway", [sys.executable, "-m", "tests.bench.floor", "gateway"], PORT=port)
    children.start("floor-reader", [sys.executable, "-m", "tests.bench.floor", "reader"], BENCH_ENTERED=entered.address)
    stack = Floor(f"http://127.0.0.1:{port}")
    await until_listening(stack.url)
    return stack


async def until_listening(url: str) -> None:
    """Returns when somebody answers there, whatever it is."""
    async with asyncio.timeout(START_S), AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        while True:
            with suppress(aiohttp.ClientConnectionError):
                async with http.get(url):
                    return
            await asyncio.sleep(0.02)


async def _length(redis: Redis, key: str) -> int:
    length: int = await redis.llen(key)
    return length
