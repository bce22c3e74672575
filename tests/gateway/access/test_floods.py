"""Who floods a gateway with requests that it refuses does not slow those down who may be there."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import httpx
import pytest

from services.gateway.access import keys
from shared import contract
from shared.buckets import Buckets, Rate
from shared.redis.connection import Redis
from tests.gateway.test_process import started
from tests.processes import Children

KEYS = {"JOIN_KEYS": "good,fast,old@2020-12-31", "ADMIN_KEYS": "admin"}
TURNS = 2
BODY = b'{"transport":"none"}'


def request(key: str | None) -> bytes:
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    head = f"POST /join HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{authorization}"
    return f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY


REFUSED = {"wrong": "another", "missing": None, "expired": "old"}


class Flood:
    """Requests over so many connections, each as soon as the last one is answered."""

    def __init__(self, port: int, requests: Sequence[bytes], connections: int, most: int) -> None:
        self._port = port
        self._requests = cycle(requests)
        self._left = most
        self._connections = connections
        self.statuses: dict[int, int] = {}

    async def run(self) -> None:
        """Until so many were answered, or this is cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._connections):
                group.create_task(self._one())

    async def _one(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while self._left > 0:
                self._left -= 1
                writer.write(next(self._requests))
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
                status = int(head[9:12])
                self.statuses[status] = self.statuses.get(status, 0) + 1
        finally:
            writer.transport.abort()


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    joins: int
    connections: int
    requests: int


@dataclass(frozen=True)
class Latency:
    """Of joins, in milliseconds."""

    p50: float
    p99: float


async def joins(http: httpx.AsyncClient, count: int) -> list[float]:
    """So many, one after the other; how long each took."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        answer = await http.post("/join", content=BODY, headers={"Authorization": "Bearer good"})
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 202
    return took


def latency(took: list[float]) -> Latency:
    ordered = sorted(took)
    return Latency(statistics.median(ordered), ordered[int(len(ordered) * 0.99)])


@dataclass(frozen=True)
class Measured:
    """The same joins in quiet and under a flood, in turns."""

    quiet: Latency
    flooded: Latency
    statuses: dict[int, int]
    log: str

    def __str__(self) -> str:
        ratios = f"{self.flooded.p50 / self.quiet.p50:.2f} and {self.flooded.p99 / self.quiet.p99:.2f}"
        return f"quiet {self.quiet}, flooded {self.flooded}, ratios of p50 and p99 {ratios}, {self.statuses}"


async def measured(children: Children, requests: Sequence[bytes], size: Size, **env: str) -> Measured:
    """In each turn under a flood there are joins until all of its requests are answered."""
    quiet: list[float] = []
    flooded: list[float] = []
    statuses: dict[int, int] = {}
    async with started(children, QUEUE_LIMIT="1000000", **KEYS, **env) as (child, http):
        port = http.base_url.port or 0
        http.headers["Content-Type"] = "application/json"
        await joins(http, size.joins)
        for _ in range(TURNS):
            quiet += await joins(http, size.joins)
            flood = Flood(port, requests, size.connections, size.requests // TURNS)
            flooding = asyncio.create_task(flood.run())
            while not flooding.done():
                flooded += await joins(http, size.joins)
            await flooding
            for status, count in flood.statuses.items():
                statuses[status] = statuses.get(status, 0) + count
    return Measured(latency(quiet), latency(flooded), statuses, child.output())


SIZES = [
    pytest.param(Size(joins=20, connections=50, requests=240), id="small"),
    pytest.param(Size(joins=100, connections=250, requests=10_000), id="large", marks=[pytest.mark.slow]),
]


@pytest.mark.parametrize("size", SIZES)
async def test_requests_without_a_good_key_hardly_slow_down_those_with_one(children: Children, size: Size) -> None:
    found = await measured(children, [request(key) for key in REFUSED.values()], size)
    print(found)  # noqa: T201
    assert found.statuses == {401: size.requests}
    assert found.flooded.p50 < 3 * found.quiet.p50 + 2
    assert found.log.count("requests_refused") < 30
    assert "another" not in found.log


@pytest.mark.parametrize("size", SIZES)
async def test_one_key_above_its_rate_hardly_slows_down_another(children: Children, redis: Redis, size: Size) -> None:
    """The one has taken more than there is; the other has hardly begun."""
    rate = Rate(per_s=10, at_once=100_000)
    bucket = contract.rate_key("join", keys.parse("fast").fingerprint)
    await Buckets(redis).spend([(bucket, rate, 2 * rate.at_once)])
    found = await measured(children, [request("fast")], size, JOIN_RATE=f"{rate.per_s:g},{rate.at_once}")
    print(found)  # noqa: T201
    assert found.statuses[429] > 0.9 * size.requests
    assert found.statuses.keys() <= {202, 429}
    assert found.flooded.p50 < 3 * found.quiet.p50 + 2
