"""A primary that goes, and its replica that takes over, as a client behind Sentinel meets them."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from shared.claims import Claims
from shared.errors import Unavailable
from shared.launches import Launches
from shared.redis.connection import Redis, backoff_s, connect, translated
from tests.launching import a_launch, offer
from tests.processes import free_port
from tests.redis_server import EMBEDDED, RedisServer
from tests.sentinel import FAILOVER_S, PASSWORD, SENTINEL_PASSWORD, Watched
from tests.waiting import until


@pytest.fixture
def watched() -> Iterator[Watched]:
    with TemporaryDirectory(prefix="pipefleet-test-") as folder:
        servers = Watched(Path(folder))
        try:
            servers.start()
            yield servers
        finally:
            servers.kill()


async def put(redis: Redis, key: str) -> None:
    with translated():
        await redis.set(key, "1")


async def put_sooner_or_later(redis: Redis, key: str) -> None:
    """As every loop of the services does: what is unavailable now is tried again."""
    async with asyncio.timeout(FAILOVER_S):
        while True:
            try:
                return await put(redis, key)
            except Unavailable:
                await asyncio.sleep(backoff_s(0))


async def both_in_step(watched: Watched) -> None:
    """What was written so far is with the replica too."""

    def offset(number: int) -> int:
        with watched.client(number) as client:
            return int(client.info("replication")["master_repl_offset"])

    await until(lambda: offset(0) == offset(1))


async def test_after_a_failover_a_client_gets_through_with_all_that_was_replicated(watched: Watched) -> None:
    async with connect(watched.url, retries=0) as redis:
        launch = await offer(redis)
        await both_in_step(watched)
        watched.watch_closely()
        watched.servers[0].kill()
        await put_sooner_or_later(redis, "after")
        assert watched.failed_over()
        assert await Launches(redis).find(launch.room_url) == launch.session_id
        assert (await Launches(redis).offer(a_launch(), queue_limit=10)).outcome == "queued"


async def test_while_there_is_no_primary_a_call_is_unavailable_and_shows_no_password(watched: Watched) -> None:
    async with connect(watched.url, retries=0) as redis:
        await put(redis, "before")
        watched.watch_closely()
        watched.servers[0].kill()
        watched.servers[1].kill()
        with pytest.raises(Unavailable) as away:
            await put(redis, "key")
        assert PASSWORD not in str(away.value)
        assert SENTINEL_PASSWORD not in str(away.value)


async def test_a_runner_that_waits_for_a_launch_gets_the_first_one_after_a_failover(watched: Watched) -> None:
    async with connect(watched.url, retries=0) as redis, claiming(redis) as claimed:
        await until(lambda: waits_for_a_launch(watched))
        watched.watch_closely()
        watched.servers[0].kill()
        await put_sooner_or_later(redis, "after")
        launch = await offer(redis)
        assert (await asyncio.wait_for(claimed, FAILOVER_S)) == launch.session_id


def waits_for_a_launch(watched: Watched) -> bool:
    with watched.client(0) as client:
        return bool(client.info("clients")["blocked_clients"])


@asynccontextmanager
async def claiming(redis: Redis) -> AsyncIterator[asyncio.Future[str]]:
    """A runner's claim of one launch, whatever becomes of Redis meanwhile."""
    claims = Claims(redis, "runner-1")

    async def claim() -> str:
        while True:
            try:
                if found := await claims.next():
                    return found.launch.session_id
            except Unavailable:
                await asyncio.sleep(backoff_s(0))

    task = asyncio.create_task(claim())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        await claims.aclose()


async def test_a_client_leaves_a_frozen_primary_with_all_its_connections(watched: Watched) -> None:
    """An old primary that comes back takes writes until it hears that it is none; none may be sent to it."""
    async with connect(watched.url, answer_s=1.0, retries=0) as redis:
        await asyncio.gather(*(redis.client_info() for _ in range(8)))
        watched.watch_closely()
        watched.servers[0].signal(signal.SIGSTOP)
        try:
            await put_sooner_or_later(redis, "after")
            assert watched.failed_over()
            await asyncio.gather(*(put(redis, f"later-{i}") for i in range(8)))
        finally:
            watched.servers[0].signal(signal.SIGCONT)


async def test_a_replica_that_is_named_by_a_sentinel_that_knows_no_better_is_not_used(tmp_path: Path) -> None:
    """Right after a failover, or from a sentinel that was cut off."""
    async with (
        a_server_with_a_port(tmp_path) as (server, port),
        a_sentinel_that_names(port) as sentinel_port,
        connect(f"sentinel://127.0.0.1:{sentinel_port}/bots", retries=0) as redis,
    ):
        with server.client() as client:
            client.replicaof("127.0.0.1", "1")
            with pytest.raises(Unavailable, match="is not the primary"), translated():
                await redis.get("key")
            client.replicaof("NO", "ONE")
        await put(redis, "key")


@asynccontextmanager
async def a_server_with_a_port(folder: Path) -> AsyncIterator[tuple[RedisServer, int]]:
    port = free_port()
    server = RedisServer(EMBEDDED, folder, "--port", str(port), "--bind", "127.0.0.1")
    server.start()
    try:
        yield server, port
    finally:
        server.kill()


@asynccontextmanager
async def a_sentinel_that_names(port: int) -> AsyncIterator[int]:
    """A stand-in that gives the same answer for ever."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = [(await reader.readline(), await reader.readline())[1].strip() for _ in range(int(line[1:]))]
            named = f"*2\r\n$9\r\n127.0.0.1\r\n${len(str(port))}\r\n{port}\r\n"
            writer.write(named.encode() if words[0] == b"SENTINEL" else b"+OK\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


# without Sentinel: a server behind a name that stays the same


@pytest.mark.parametrize("retries", [0, 1])
async def test_a_primary_that_became_a_replica_is_unavailable_until_there_is_one_again(
    redis_url: str, retries: int
) -> None:
    async with connect(redis_url, retries=retries) as redis:
        launches = Launches(redis)
        await offer(redis)
        await redis.replicaof("127.0.0.1", "1")
        try:
            for call in (
                put(redis, "key"),
                launches.offer(a_launch(), queue_limit=10),
                launches.adopt(a_launch(), "runner-1"),
                launches.ensure_group("another"),
            ):
                with pytest.raises(Unavailable):
                    await call
        finally:
            await redis.replicaof("NO", "ONE")
        assert (await launches.offer(a_launch(), queue_limit=10)).outcome == "queued"


async def test_an_empty_fleet_on_a_replica_is_unavailable_too(redis_url: str) -> None:
    """There is no group yet, and none can be made."""
    async with connect(redis_url) as redis:
        await redis.replicaof("127.0.0.1", "1")
        try:
            with pytest.raises(Unavailable):
                await Launches(redis).offer(a_launch(), queue_limit=10)
            with pytest.raises(Unavailable):
                await Launches(redis).adopt(a_launch(), "runner-1")
        finally:
            await redis.replicaof("NO", "ONE")


async def test_a_runner_that_waits_while_its_server_becomes_a_replica_hears_that_it_is_unavailable(
    redis_url: str,
) -> None:
    async with connect(redis_url, retries=0) as redis:
        claims = Claims(redis, "runner-1")
        waiting = asyncio.create_task(claims.next())
        try:
            await until(lambda: blocked(redis))
            await redis.replicaof("127.0.0.1", "1")
            with pytest.raises(Unavailable):
                await waiting
        finally:
            await redis.replicaof("NO", "ONE")
            await claims.aclose()


async def blocked(redis: Redis) -> bool:
    return bool((await redis.info("clients"))["blocked_clients"])


async def test_a_new_connection_is_made_after_a_server_said_that_it_is_a_replica(redis_url: str) -> None:
    """A name, or a proxy, may lead to the new primary by now; the old connection never will."""
    async with connect(redis_url, retries=0) as redis:
        before = await redis.client_id()
        await redis.replicaof("127.0.0.1", "1")
        try:
            with pytest.raises(Unavailable):
                await put(redis, "key")
            assert await redis.client_id() != before
        finally:
            await redis.replicaof("NO", "ONE")
