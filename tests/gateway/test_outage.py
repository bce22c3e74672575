import asyncio
import signal
import time

import pytest

from services.gateway.parts import ANSWER_S
from shared.contract import Reason
from shared.redis_connection import connect
from tests.gateway.conftest import Gateway, running_gateway
from tests.gateway.stand_in_runner import StandInRunner
from tests.redis_server import RedisServer

REQUESTS = [("POST", "/join", {"transport": "none"}), ("POST", "/start", {}), ("GET", "/sessions", None),
            ("GET", "/sessions/x", None), ("DELETE", "/sessions/x", None), ("GET", "/fleet", None),
            ("POST", "/admin", {"session_id": "x", "message": "y"}), ("GET", "/readyz", None)]  # fmt: skip


async def ready(gateway: Gateway) -> None:
    async with asyncio.timeout(10):
        while (await gateway.http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)


async def test_without_redis_every_request_is_refused_soon_and_served_again_after_its_restart(
    own_server: RedisServer,
) -> None:
    async with running_gateway(own_server.url) as gateway:
        session_id = (await gateway.join())["session_id"]
        own_server.kill()
        for method, path, body in REQUESTS:
            began = time.monotonic()
            answer = await gateway.http.request(method, path, json=body)
            assert time.monotonic() - began < 2
            assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
            assert int(answer.headers["retry-after"]) > 0
        assert (await gateway.http.get("/healthz")).status_code == 200
        own_server.start()
        await ready(gateway)
        assert (await gateway.session(session_id))["status"] == "queued"
        await gateway.join()


@pytest.mark.parametrize(("path", "limit_s"), [("/readyz", 1.5), ("/fleet", 4 * ANSWER_S)])
async def test_a_redis_that_hangs_is_not_waited_for_long(own_server: RedisServer, path: str, limit_s: float) -> None:
    async with running_gateway(own_server.url) as gateway:
        await gateway.http.get(path)
        own_server.signal(signal.SIGSTOP)
        began = time.monotonic()
        answer = await gateway.http.get(path)
        assert time.monotonic() - began < limit_s
        assert answer.status_code == 503
        own_server.signal(signal.SIGCONT)
        await ready(gateway)


async def test_a_gateway_that_began_without_redis_serves_and_reads_the_feed_when_it_comes(
    own_server: RedisServer,
) -> None:
    own_server.kill()
    async with running_gateway(own_server.url) as gateway:
        assert (await gateway.http.get("/readyz")).status_code == 503
        own_server.start()
        await ready(gateway)
        asked = asyncio.create_task(gateway.http.post("/join?wait=30", json={"transport": "none"}))
        async with connect(own_server.url) as redis:
            runner = StandInRunner(redis, "r")
            await runner.running()
            assert (await asked).json()["status"] == "running"
            await runner.inbox.aclose()


async def test_a_join_that_waits_outlives_a_crash_of_redis(own_server: RedisServer) -> None:
    async with running_gateway(own_server.url) as gateway, connect(own_server.url) as redis:
        runner = StandInRunner(redis, "r")
        asked = asyncio.create_task(gateway.http.post("/join?wait=30", json={"transport": "none"}))
        claim = await runner.starting()
        own_server.kill()
        own_server.start()
        await runner.end(claim, Reason.COMPLETED)
        answer = await asyncio.wait_for(asked, 15)
        assert (answer.status_code, answer.json()["status"]) == (202, "ended")
        await runner.inbox.aclose()
