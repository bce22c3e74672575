import asyncio
import signal
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.gateway.parts import ANSWER_S
from shared.contract import Reason
from shared.redis.connection import connect
from tests.gateway.conftest import Gateway, running_gateway
from tests.gateway.stand_in_runner import StandInRunner
from tests.redis_server import RedisServer
from tests.waiting import until

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


async def test_an_outage_is_logged_once_and_its_end_once_however_many_requests_are_refused(
    own_server: RedisServer,
) -> None:
    """A readiness probe each 0.1 s and a caller's retries filled the log with one line per request."""
    async with running_gateway(own_server.url) as gateway:
        with capture_logs() as logs:
            for _ in range(2):
                own_server.kill()
                for _ in range(3):
                    for method, path, body in REQUESTS:
                        assert (await gateway.http.request(method, path, json=body)).status_code == 503
                own_server.start()
                await ready(gateway)
                await until(lambda: back(gateway, logs))
                logs.append({"event": "--", "log_level": "info"})
    said = [line for line in logs if line["event"] in {"redis_away", "redis_back", "--"}]
    assert [(line["event"], line["log_level"]) for line in said] == [
        ("redis_away", "warning"), ("redis_back", "info"), ("--", "info"),
    ] * 2  # fmt: skip
    assert {"method", "path", "error"} <= said[0].keys()
    assert said[1]["refused"] >= 3 * len(REQUESTS)
    assert said[1]["after_s"] > 0
    refused = [line["log_level"] for line in logs if line["event"] == "request_refused"]
    assert len(refused) >= 6 * len(REQUESTS)
    assert set(refused) == {"debug"}


async def test_an_address_that_is_not_there_is_not_found_in_an_outage_too(own_server: RedisServer) -> None:
    """From the first refused request on, a favicon or a mistyped path was an unhandled exception: 500, as text."""
    async with running_gateway(own_server.url) as gateway:
        own_server.kill()
        assert (await gateway.http.get("/sessions")).status_code == 503
        for method, path, status in (("GET", "/favicon.ico", 404), ("PUT", "/join", 405)):
            answer = await gateway.http.request(method, path)
            assert (answer.status_code, answer.json()["status"]) == (status, status)


async def test_a_redis_that_serves_only_some_requests_is_one_outage(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.outage.QUIET_S", 60.0)
    async with running_gateway(own_server.url) as gateway, connect(own_server.url) as redis:
        with capture_logs() as logs:
            for replicas_needed, status in ((1, 503), (0, 202), (1, 503), (0, 202)):
                await redis.config_set("min-replicas-to-write", replicas_needed)
                assert (await gateway.http.post("/join", json={"transport": "none"})).status_code == status
    assert [line["event"] for line in logs if line["event"].startswith("redis_")] == ["redis_away"]


async def back(gateway: Gateway, logs: list[Any]) -> bool:
    await gateway.http.get("/healthz")
    await gateway.http.get("/readyz")
    return bool(logs[-1]["event"] == "redis_back")


@pytest.mark.parametrize(("path", "limit_s"), [("/readyz", 2 * ANSWER_S), ("/fleet", 4 * ANSWER_S)])
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
