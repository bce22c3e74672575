"""The gateway as a process of its own."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from shared import contract
from shared.contract import Outcome
from shared.redis.connection import Redis
from tests.gateway.stand_in_runner import StandInRunner
from tests.processes import Child, Children, free_port
from tests.waiting import until

GATEWAY = (sys.executable, "-m", "services.gateway")


@asynccontextmanager
async def started(
    children: Children, command: Sequence[str] = GATEWAY, **env: str
) -> AsyncIterator[tuple[Child, httpx.AsyncClient]]:
    """A gateway that serves, and a client of it."""
    port = free_port()
    child = children.start("gateway", [*command], (), GATEWAY_PORT=str(port), LOG_FORMAT="json", **env)

    async def serves() -> bool:
        assert child.exit_code is None, child.output()
        try:
            return (await http.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        await until(serves)
        yield child, http


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_asked_to_stop_the_gateway_exits_clean(children: Children, number: signal.Signals) -> None:
    async with started(children) as (child, _):
        child.signal(number)
        assert await child.wait() == 0
    assert child.traces() == []


async def test_a_join_that_waits_is_answered_when_the_gateway_stops(children: Children, redis: Redis) -> None:
    async with started(children) as (child, http):
        asked = asyncio.create_task(http.post("/join?wait=60", json={"transport": "none"}))
        await until(lambda: redis.xlen(contract.LAUNCH))
        child.terminate()
        answer = await asked
        assert (answer.status_code, answer.json()["status"]) == (202, "queued")
        assert await child.wait() == 0


async def test_an_offer_in_hand_is_finished_before_the_gateway_exits(
    children: Children, redis: Redis, runner: StandInRunner
) -> None:
    async with started(children) as (child, http):
        session_id = (await http.post("/start", json={})).json()["sessionId"]
        offer = {"sdp": "v=0", "type": "offer"}
        asked = asyncio.create_task(http.post(f"/sessions/{session_id}/api/offer", json=offer))
        claim = await runner.starting()
        entry, command = await runner.command(claim)
        child.terminate()

        async def refuses() -> bool:
            try:
                await http.get("/healthz")
            except httpx.TransportError:
                return True
            return False

        await until(refuses)
        result = {"sdp": "v=0", "type": "answer", "pc_id": "1"}
        await runner.reply(claim, entry, command, Outcome.DELIVERED, result=result)
        assert (await asked).json() == result
        assert await child.wait() == 0


async def test_a_request_that_never_ends_is_cut_off_after_the_grace(
    children: Children, redis: Redis, runner: StandInRunner
) -> None:
    async with started(children, GATEWAY_GRACE="1") as (child, http):
        session_id = (await http.post("/start", json={})).json()["sessionId"]
        offer = {"sdp": "v=0", "type": "offer"}
        asked = asyncio.create_task(http.post(f"/sessions/{session_id}/api/offer", json=offer))
        await runner.command(await runner.starting())
        child.terminate()
        assert await child.wait(within_s=10) == 0
        await asyncio.wait({asked})
        asked.exception()


async def test_a_second_signal_insists(children: Children, redis: Redis, runner: StandInRunner) -> None:
    async with started(children) as (child, http):
        session_id = (await http.post("/start", json={})).json()["sessionId"]
        offer = {"sdp": "v=0", "type": "offer"}
        asked = asyncio.create_task(http.post(f"/sessions/{session_id}/api/offer", json=offer))
        await runner.command(await runner.starting())
        child.terminate()
        await child.said("gateway_stopping")
        child.terminate()
        await child.wait(within_s=4)
        await asyncio.wait({asked})
        asked.exception()


@pytest.mark.parametrize(
    ("env", "names"),
    [
        ({"GATEWAY_PORT": "many"}, ["GATEWAY_PORT"]),
        ({"QUEUE_LIMIT": "0", "LAUNCH_DEADLINE": "-1"}, ["QUEUE_LIMIT", "LAUNCH_DEADLINE"]),
        ({"REDIS_URL": "redis://host/first"}, ["REDIS_URL: must have a number as database"]),
        ({"GATEWAY_HOST": "0.0.0.0"}, ["JOIN_KEYS", "ADMIN_KEYS"]),  # noqa: S104 - that is the point
    ],
)
async def test_bad_settings_end_the_start_with_their_names(
    children: Children, env: dict[str, str], names: list[str]
) -> None:
    child = children.service("gateway", **env)
    assert await child.wait() == 2
    assert all(name in child.output() for name in names)
    assert child.traces() == []


async def test_a_port_that_is_taken_ends_the_start_and_is_named(children: Children) -> None:
    port = free_port()
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with server:
        child = children.service("gateway", GATEWAY_PORT=str(port))
        assert await child.wait() not in {0, None}
    assert str(port) in child.output()
    assert "address already in use" in child.output()
    assert child.traces() == []


async def test_tokens_and_keys_are_not_in_the_log_at_its_most_talkative(children: Children) -> None:
    async with started(children, LOG_LEVEL="debug", JOIN_KEYS="SECRET-1") as (child, http):
        headers = {"Authorization": "Bearer SECRET-1"}
        body = {"room_url": "https://example.daily.co/r?t=SECRET-2", "token": "SECRET-3", "body": "SECRET-4"}
        for bad in ({}, {"labels": 1}, {"SECRET_5": 1}):
            await http.post("/join", json={**body, **bad}, headers=headers)
        await http.post(
            "/join", content=b'{"token": "SECRET-6', headers={**headers, "Content-Type": "application/json"}
        )
        await http.get("/fleet", headers={"X-Bot-Secret": "SECRET-7"})
    child.terminate()
    await child.wait()
    assert "session_accepted" in child.output()
    assert "SECRET" not in child.output()


async def test_the_gateway_does_not_load_what_it_does_not_need(children: Children) -> None:
    code = "import services.gateway.app, sys; print(sorted({'fastapi', 'pipecat', 'starlette'} & set(sys.modules)))"
    child = children.start("imports", [sys.executable, "-c", code])
    assert await child.wait() == 0
    assert "[]" in child.output()
