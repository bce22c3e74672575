"""`make up`: one command, a fleet, and nothing left of it afterwards."""

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

import httpx
import pytest

from shared.contract import EVENTS
from shared.redis_connection import Redis
from tests.processes import START_S, Child, Children, free_port, until_gone
from tests.waiting import until
from up import KILL_AFTER_S

BOTS = {
    "returns": "async def bot(runner_args):\n    pass\n",
    "stays": "import asyncio\n\nasync def bot(runner_args):\n    await asyncio.Event().wait()\n",
}


def start(children: Children, tmp_path: Path, port: int, bot: str = "returns", **env: str) -> Child:
    path = tmp_path / "bot.py"
    path.write_text(BOTS[bot])
    own = {"REDIS_URL": "", "GATEWAY_PORT": str(port), "RUNNER_SLOTS": "1", "BOT": str(path), **env}
    return children.start("up", [sys.executable, "up.py"], (), **own)


async def join(port: int, status: str) -> None:
    """Put a bot somewhere and see it get to `status`."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        answer = await http.post("/join", json={"transport": "none"})

        async def reached() -> bool:
            session = await http.get(answer.headers["Location"])
            return bool(session.json()["status"] == status)

        await until(reached)


def part(up: Child, name: str) -> int:
    """The process id of a part, from the kernel's list of processes."""
    for entry in Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split():
        if name in Path(f"/proc/{entry}/cmdline").read_text():
            return int(entry)
    raise LookupError(name)


async def test_up_says_when_it_is_ready_serves_a_session_and_stops_on_ctrl_c(
    children: Children, tmp_path: Path
) -> None:
    port = free_port()
    up = start(children, tmp_path, port)
    await up.said(f"http://localhost:{port}/client/", within_s=START_S)
    await join(port, "ended")
    up.signal(signal.SIGINT)
    asked_at = time.monotonic()
    assert await up.wait() == 0
    assert time.monotonic() - asked_at < KILL_AFTER_S
    for name in ("gateway", "operator", "runner"):
        assert f"\n{name:<8} | " in up.output()


async def test_with_a_redis_of_its_own_the_user_gets_no_embedded_one(
    children: Children, tmp_path: Path, redis: Redis, redis_url: str
) -> None:
    port = free_port()
    up = start(children, tmp_path, port, REDIS_URL=redis_url)
    await up.said("The fleet is ready", within_s=START_S)
    with pytest.raises(LookupError):
        part(up, "valkey-server")
    await join(port, "ended")
    assert await redis.exists(EVENTS)


async def test_up_stops_within_seconds_while_a_call_goes_on(children: Children, tmp_path: Path) -> None:
    port = free_port()
    up = start(children, tmp_path, port, bot="stays")
    await up.said("The fleet is ready", within_s=START_S)
    await join(port, "running")
    up.terminate()
    asked_at = time.monotonic()
    assert await up.wait() == 0
    assert time.monotonic() - asked_at < KILL_AFTER_S + 3


async def test_a_port_that_is_taken_is_named_and_nothing_starts(children: Children, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        up = start(children, tmp_path, port)
        assert await up.wait() == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use. GATEWAY_PORT" in up.output()


@pytest.mark.parametrize("name", ["gateway", "valkey"])
async def test_a_part_that_dies_is_named_and_stops_everything(children: Children, tmp_path: Path, name: str) -> None:
    up = start(children, tmp_path, free_port())
    await up.said("The fleet is ready", within_s=START_S)
    os.kill(part(up, name), signal.SIGKILL)
    assert await up.wait() == 1
    assert f"The {name} was killed by SIGKILL. Its last lines:" in up.output()


async def test_a_bad_setting_of_a_part_is_shown_with_its_name(children: Children, tmp_path: Path) -> None:
    up = start(children, tmp_path, free_port(), COLD_MAX="many")
    assert await up.wait(within_s=START_S) == 1
    assert "The operator exited with code 1" in up.output()
    assert "COLD_MAX" in up.output()


async def test_nothing_survives_up_when_it_is_killed(children: Children, tmp_path: Path) -> None:
    up = start(children, tmp_path, free_port())
    await up.said("The fleet is ready", within_s=START_S)
    parts = [part(up, name) for name in ("valkey-server", "gateway", "operator", "runner")]
    up.kill()
    await asyncio.gather(*(until_gone(pid) for pid in parts))
