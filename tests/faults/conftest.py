"""A server of its own for each test here, which keeps all it has accepted."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from shared.redis.connection import Redis
from tests.faults.bench import Bench
from tests.faults.cable import Cable
from tests.processes import Children
from tests.redis_server import EMBEDDED, RedisServer

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")

Tell = Callable[[str, str], None]
StartBench = Callable[..., AbstractAsyncContextManager[Bench]]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that may be killed: what it has answered is on the disk."""
    with TemporaryDirectory(prefix="pipefleet-faults-") as folder:
        server = RedisServer(shutil.which("redis-server") or EMBEDDED, Path(folder), *DURABLE)
        server.start()
        yield server
        server.kill()


@pytest.fixture
def redis_url(server: RedisServer) -> str:
    """The services' too."""
    return server.url


@pytest.fixture
def bench_of(children: Children, server: RedisServer, redis: Redis, tmp_path: Path) -> StartBench:
    """Begins a bench whose fleet is whole; `cabled` puts a cable between its first runner and Redis."""

    @asynccontextmanager
    async def bench_of(*, cabled: bool = False, **options: Any) -> AsyncIterator[Bench]:
        async with Cable(server.path).laid() as cable:
            bench = Bench(children, server, redis, tmp_path / "w", cable=cable if cabled else None, **options)
            try:
                await bench.until_whole()
                yield bench
            finally:
                await bench.aclose()
                await children.stop()

    return bench_of
