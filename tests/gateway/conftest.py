"""The application in this process, on a real server, with the lifespan that its server would give it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar

from services.gateway.app import create_app
from services.gateway.parts import ANSWER_S, Parts, assemble
from services.gateway.settings import GatewaySettings
from shared.redis.connection import Redis, connect
from tests.gateway.stand_in_runner import StandInRunner
from tests.redis_server import EMBEDDED, RedisServer


@dataclass(frozen=True)
class Gateway:
    """One gateway, and how to talk to it."""

    http: httpx.AsyncClient
    parts: Parts

    async def join(self, **body: Any) -> Any:
        """A new session; one of its own room unless the body says otherwise."""
        answer = await self.http.post("/join", json={"transport": "none", **body})
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def session(self, session_id: str) -> Any:
        """What the gateway says of a session."""
        answer = await self.http.get(f"/sessions/{session_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()


StartGateway = Callable[..., AbstractAsyncContextManager[Gateway]]


@asynccontextmanager
async def running_gateway(url: str, **settings: Any) -> AsyncIterator[Gateway]:
    """A gateway on this server."""
    made = GatewaySettings(redis_url=url, **settings)
    async with connect(url, answer_s=ANSWER_S) as redis, connect(url, retries=0) as readers_redis:
        parts = assemble(made, redis, readers_redis)
        app = create_app(parts)
        transport = httpx.ASGITransport(cast("Any", app))
        async with _living(app), httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            yield Gateway(http, parts)


@asynccontextmanager
async def _living(app: Litestar) -> AsyncIterator[None]:
    """The application's lifespan, in one task from beginning to end as its server has it."""
    begun, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            begun.set()
            await over.wait()

    life = asyncio.create_task(live())
    await begun.wait()
    try:
        yield
    finally:
        over.set()
        await life


@pytest.fixture
async def gateway(redis_url: str) -> AsyncIterator[Gateway]:
    """A gateway with the default settings."""
    async with running_gateway(redis_url) as running:
        yield running


@pytest.fixture
def gateway_with(redis_url: str) -> StartGateway:
    """To begin gateways with other settings."""
    return lambda **settings: running_gateway(redis_url, **settings)


@pytest.fixture
async def runner(redis: Redis) -> AsyncIterator[StandInRunner]:
    """The runner's side, in the test's hands."""
    stand_in = StandInRunner(redis, "runner-1")
    yield stand_in
    await stand_in.inbox.aclose()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that the test may kill, stop and start again."""
    with TemporaryDirectory(prefix="pipefleet-test-") as folder:
        server = RedisServer(EMBEDDED, Path(folder), "--appendonly", "yes", "--appendfsync", "always")
        server.start()
        yield server
        server.kill()
