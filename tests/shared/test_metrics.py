"""What every service measures of itself."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import metrics
from shared.errors import Unavailable
from shared.metrics import Tally, measuring
from shared.redis import connection
from shared.redis.connection import FailedBy, Redis, connect, translated
from shared.redis.streams import read
from tests.redis_server import EMBEDDED, RedisServer
from tests.scraping import read as metrics_of
from tests.waiting import until

SPENDS = """
local began = os.clock()
for _ = 1, 3000000 do end
return tostring(os.clock() - began)
"""
"""A script that takes its time, and says how much of the processor's that was."""


class Seen:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.failures: list[FailedBy] = []

    def answered(self, after_s: float) -> None:
        self.times.append(after_s)

    def failed(self, by: FailedBy) -> None:
        self.failures.append(by)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may treat badly."""
    server = RedisServer(EMBEDDED, tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def seen(monkeypatch: pytest.MonkeyPatch, redis: Redis) -> Seen:
    """What is observed from here on; the client has its connection already."""
    await redis.ping()
    observer = Seen()
    monkeypatch.setattr(connection, "observer", observer)
    return observer


async def test_a_round_trip_is_a_command_a_pipeline_or_a_transaction(redis: Redis, seen: Seen) -> None:
    began = time.perf_counter()
    await redis.set("a", 1)
    async with redis.pipeline(transaction=False) as pipe:
        for _ in range(10):
            pipe.get("a")
        await pipe.execute()
    async with redis.pipeline(transaction=True) as pipe:
        pipe.get("a")
        pipe.get("a")
        await pipe.execute()
    whole_s = time.perf_counter() - began
    assert len(seen.times) == 3
    assert all(took > 0 for took in seen.times)
    assert sum(seen.times) <= whole_s


async def test_a_server_that_is_slow_is_seen_and_a_wait_for_news_is_not(
    redis: Redis, own_redis: RedisServer, seen: Seen
) -> None:
    assert await read(redis, "nothing", "0", block_s=0.05) == []
    assert seen.times == []
    async with connect(own_redis.url) as unconnected:
        began = time.perf_counter()
        assert await read(unconnected, "nothing", "0", block_s=0.2) == []
        assert sum(seen.times) <= time.perf_counter() - began - 0.2, "what it takes to connect, and no more"
    seen.times.clear()
    began = time.perf_counter()
    spent_s = float(await redis.register_script(SPENDS)())
    assert 0 < spent_s <= max(seen.times) < time.perf_counter() - began


async def test_calls_that_come_to_nothing_are_counted_by_why(own_redis: RedisServer, seen: Seen) -> None:
    async with connect("unix:///nowhere/redis.sock", retries=0) as nowhere:
        with pytest.raises(Unavailable), translated():
            await nowhere.ping()
    async with connect(own_redis.url, answer_s=1.0, retries=0) as client:
        await client.config_set("maxmemory", "1")
        with pytest.raises(Unavailable), translated():
            await client.set("a", "b")
        own_redis.signal(signal.SIGSTOP)
        with pytest.raises(Unavailable), translated():
            await client.get("a")
        own_redis.signal(signal.SIGCONT)
    async with connect(own_redis.url, retries=0) as client:
        await client.config_set("maxmemory", "0")
        await client.replicaof("127.0.0.1", "1")
        with pytest.raises(Unavailable), translated():
            await client.set("a", "b")
    assert seen.failures == ["connection", "refusal", "timeout", "refusal"]


async def test_an_event_loop_that_does_not_turn_is_seen() -> None:
    def late() -> float:
        found = metrics_of(metrics.text().decode())
        every = found.total("pipefleet_event_loop_lag_seconds_count", component="test")
        return every - found.total("pipefleet_event_loop_lag_seconds_bucket", component="test", le="0.25")

    async with measuring("test"):
        await asyncio.sleep(0)
        before = late()
        time.sleep(0.6)  # noqa: ASYNC251 - what is to be seen
        await until(lambda: late() > before)


async def test_a_tally_shows_what_is_counted_elsewhere_for_as_long_as_it_is_measured() -> None:
    counted = {"this": 0}
    async with measuring("test", Tally("pipefleet_tests", "About.", "test", "what", counted)):
        counted["this"] = 7
        assert metrics_of(metrics.text().decode()).total("pipefleet_tests_total", component="test", what="this") == 7
    assert not metrics_of(metrics.text().decode()).named("pipefleet_tests_total")
    assert connection.observer is None
