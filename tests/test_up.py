"""`make up`: one command, a fleet, and nothing left of it afterwards."""

import asyncio
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from services.runner.forking.process_names import SESSION_PROCESS
from shared.contract import EVENTS, RUNNERS
from shared.errors import SettingsError
from shared.redis.connection import Redis, connect
from shared.settings import inherited, load
from tests.processes import START_S, Child, Children, children_called, free_port, until_gone
from tests.waiting import until
from up.__main__ import KILL_AFTER_S, UpSettings
from up.part import Part

BOTS = {
    "returns": "async def bot(runner_args):\n    pass\n",
    "stays": """
import asyncio, os, pathlib

async def bot(runner_args):
    with pathlib.Path(__file__).with_name("bots").open("a") as record:
        record.write(f"{os.getpid()}\\n")
    await asyncio.Event().wait()
""",
    "imports slowly": """
import pathlib, time

print("a slow import begins", flush=True)
while not pathlib.Path(__file__).with_name("go_on").exists():
    time.sleep(0.01)

async def bot(runner_args):
    pass
""",
    "prints": """
import sys

async def bot(runner_args):
    sys.stdout.write("y" * 40_000_000)
""",
}
ON_A_TERMINAL = """
import fcntl, os, sys, termios
os.dup2(int(sys.argv[1]), 0)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.close(int(sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-m", "up"])
"""


def write_bot(tmp_path: Path, bot: str) -> Path:
    path = tmp_path / "bot.py"
    path.write_text(BOTS[bot])
    return path


def start(
    children: Children, tmp_path: Path, port: int, bot: str = "returns", terminal: int | None = None, **env: str
) -> Child:
    path = write_bot(tmp_path, bot)
    own = {"REDIS_URL": "", "GATEWAY_PORT": str(port), "RUNNER_SLOTS": "1", "BOT": str(path), **env}
    if terminal is None:
        return children.start("up", [sys.executable, "-m", "up"], (), **own)
    return children.start("up", [sys.executable, "-c", ON_A_TERMINAL, str(terminal)], (terminal,), **own)


async def join(port: int, status: str) -> str:
    """Put a bot somewhere and see it get to `status`; gives the path of the session."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        answer = await http.post("/join", json={"transport": "none"})
        path = answer.headers["Location"]

        async def reached() -> bool:
            return bool((await http.get(path)).json()["status"] == status)

        await until(reached)
    return str(path)


def parts(up: Child, name: str) -> set[int]:
    """The process ids of the parts of one kind, from the kernel's list of processes."""
    found = set()
    for entry in Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split():
        with suppress(OSError):
            if name in Path(f"/proc/{entry}/cmdline").read_text():
                found.add(int(entry))
    return found


def part(up: Child, name: str) -> int:
    """The process id of the only one."""
    (pid,) = parts(up, name)
    return pid


@pytest.fixture
def oddly_called() -> Iterator[Path]:
    """A folder whose name means something else in a URL; nearer to the root than `tmp_path`, for sockets."""
    with TemporaryDirectory(prefix="a%41 b?") as folder:
        yield Path(folder)


async def test_up_says_when_it_is_ready_serves_a_session_and_stops_on_ctrl_c(
    children: Children, tmp_path: Path, oddly_called: Path
) -> None:
    port = free_port()
    up = start(children, tmp_path, port, TMPDIR=str(oddly_called))
    await up.said(f"http://localhost:{port}/client/", within_s=START_S)
    await join(port, "ended")
    up.signal(signal.SIGINT)
    asked_at = time.monotonic()
    assert await up.wait() == 0
    assert time.monotonic() - asked_at < KILL_AFTER_S
    for name in ("gateway", "operator", "runner"):
        assert f"\n{name:<10} | " in up.output()
    gateway = [line for line in up.output().splitlines() if line.startswith("gateway ")]
    of_itself = [line for line in gateway if '"session_id"' not in line]
    told = ("gateway_started", "gateway_stopping", "gateway_stopped")
    assert [next(event for event in told if event in line) for line in of_itself] == list(told)


async def test_with_named_bots_alone_up_says_how_each_is_reached(children: Children, tmp_path: Path) -> None:
    port = free_port()
    bots = f"sales={write_bot(tmp_path, 'returns')},support={write_bot(tmp_path, 'returns')}"
    up = start(children, tmp_path, port, BOT="", BOTS=bots)
    await up.said("After a change", within_s=START_S)
    address = f"http://localhost:{port}"
    assert f"{address}/client/?agent=sales" in up.output()
    assert f"{address}/client/?agent=support" in up.output()
    wish, its_redis = re.search(r"/join --json '(.*)'", up.output()), re.search(r"REDIS_URL=(\S+)", up.output())
    assert wish
    assert its_redis
    async with connect(its_redis[1]) as redis:
        assert await redis.exists(RUNNERS)
    async with httpx.AsyncClient(base_url=address) as http:
        assert (await http.post("/join", json=json.loads(wish[1]))).status_code == 202
    up.signal(signal.SIGINT)
    assert await up.wait() == 0


async def test_with_a_redis_of_its_own_the_user_gets_no_embedded_one(
    children: Children, tmp_path: Path, redis: Redis, redis_url: str
) -> None:
    port = free_port()
    up = start(children, tmp_path, port, REDIS_URL=redis_url)
    await up.said("The fleet is ready", within_s=START_S)
    assert not parts(up, "valkey-server")
    assert "REDIS_URL" not in up.output()
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


def test_uv_may_be_in_a_folder_with_a_space_in_its_name(tmp_path: Path) -> None:
    uv = tmp_path / "my tools" / "uv"
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    environ = inherited(PATH=f"{uv.parent}:{os.environ['PATH']}")
    make = ["/usr/bin/env", "make", "-n", "up"]
    said = subprocess.run(make, env=environ, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("uv sync ")


def test_a_port_that_nobody_would_know_is_refused() -> None:
    """With GATEWAY_PORT=0 the gateway chose one, and `make up` waited for ever for it to answer."""
    with pytest.raises(SettingsError, match=r"^GATEWAY_PORT: expected a whole number >= 1, got '0'$"):
        load(UpSettings, {"GATEWAY_PORT": "0"})


async def test_what_the_terminal_has_no_character_for_is_spelt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ended the reading, on a terminal that is not in UTF-8, and the full pipe froze the part."""
    shown = io.BytesIO()
    process = await asyncio.create_subprocess_exec("printf", "%s\n", "5 \u20ac", "end", stdout=PIPE)
    with monkeypatch.context() as terminal:
        terminal.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="latin-1"))
        await Part("runner", 1, process, "").close()
        assert shown.getvalue().splitlines() == [b"runner     | 5 \\u20ac", b"runner     | end"]


@pytest.mark.parametrize("name", ["gateway", "valkey"])
async def test_a_part_that_dies_is_named_and_stops_everything(children: Children, tmp_path: Path, name: str) -> None:
    up = start(children, tmp_path, free_port())
    await up.said("The fleet is ready", within_s=START_S)
    os.kill(part(up, name), signal.SIGKILL)
    assert await up.wait() == 1
    assert f"The {name} was killed by SIGKILL. Its last lines:" in up.output()


async def test_a_bot_that_cannot_be_imported_is_named_and_stops_everything(children: Children, tmp_path: Path) -> None:
    up = start(children, tmp_path, free_port(), BOT=str(tmp_path / "missing.py"))
    assert await up.wait(within_s=START_S) == 1
    last = up.output().splitlines()[-1]
    assert last.startswith(f"The bot cannot be imported: {tmp_path / 'missing.py'} is not there")
    assert "The fleet is ready" not in up.output()


async def test_a_bot_that_prints_without_end_does_not_stop_the_runner(children: Children, tmp_path: Path) -> None:
    """A line longer than the reader would take ended the reading, and the full pipe froze the supervisor."""
    port = free_port()
    up = start(children, tmp_path, port, bot="prints")
    await up.said("The fleet is ready", within_s=START_S)
    for _ in range(2):
        await join(port, "ended")
    up.signal(signal.SIGINT)
    assert await up.wait() == 0


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


@pytest.mark.timeout(400)
async def test_a_restart_leaves_live_sessions_where_they_are_and_gives_new_ones_to_the_new_runner(
    children: Children, tmp_path: Path
) -> None:
    port = free_port()
    up = start(children, tmp_path, port, bot="stays")
    await up.said("The fleet is ready", within_s=START_S)
    old = {name: part(up, name) for name in ("gateway", "operator", "runner")}
    warm = await join(port, "running")
    cold = await join(port, "running")

    up.signal(signal.SIGHUP)
    await up.said("gateway 2 is ready, and the restart complete", within_s=4 * START_S)
    new = {name: parts(up, name) - {pid} for name, pid in old.items()}
    assert [len(pids) for pids in new.values()] == [1, 1, 1]
    assert old["gateway"] not in parts(up, "gateway")
    (new_runner,) = new["runner"]

    fresh = await join(port, "running")
    bots = [int(line) for line in (tmp_path / "bots").read_text().split()]
    assert len(bots) == 3
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        sessions = [(await http.get(path)).json() for path in (warm, cold, fresh)]
        assert [(it["status"], it["attempt"], it["start"]) for it in sessions] == [
            ("running", 1, "warm"),
            ("running", 1, "cold"),
            ("running", 1, "warm"),
        ]
        runners = [int(it["runner"].split("-")[-2]) for it in sessions]
        assert (runners[0], runners[2]) == (old["runner"], new_runner)
        for runner, bot in zip(runners, bots, strict=True):
            assert bot in children_called(SESSION_PROCESS, runner)
        assert {old["operator"], old["runner"]} < parts(up, "services")

        for path, name in ((warm, "runner"), (cold, "operator")):
            await http.delete(path)
            await up.said(f"The {name}, which was replaced, exited with code 0.", within_s=START_S)
        assert (await http.get(fresh)).json()["status"] == "running"
    assert {name: parts(up, name) for name in new} == new

    up.signal(signal.SIGINT)
    assert await up.wait() == 0
    assert "Its last lines" not in up.output()


@pytest.mark.timeout(300)
async def test_the_old_runner_serves_until_the_new_one_is_warm_and_a_restart_asked_for_meanwhile_follows(
    children: Children, tmp_path: Path
) -> None:
    port = free_port()
    up = start(children, tmp_path, port)
    await up.said("The fleet is ready", within_s=START_S)
    write_bot(tmp_path, "imports slowly")
    up.signal(signal.SIGHUP)
    await up.said("runner 2   | a slow import begins", within_s=START_S)
    await join(port, "ended")
    up.signal(signal.SIGHUP)
    await up.said("Restart: another one follows this one.")
    (tmp_path / "go_on").touch()
    await up.said("gateway 3 is ready, and the restart complete", within_s=4 * START_S)
    await join(port, "ended")
    up.signal(signal.SIGINT)
    assert await up.wait() == 0


@pytest.mark.timeout(200)
async def test_ctrl_c_in_the_middle_of_a_restart_stops_old_and_new_within_seconds(
    children: Children, tmp_path: Path
) -> None:
    port = free_port()
    up = start(children, tmp_path, port, bot="stays")
    await up.said("The fleet is ready", within_s=START_S)
    await join(port, "running")
    write_bot(tmp_path, "imports slowly")
    up.signal(signal.SIGHUP)
    await up.said("runner 2   | a slow import begins", within_s=START_S)
    up.signal(signal.SIGINT)
    asked_at = time.monotonic()
    assert await up.wait() == 0
    assert time.monotonic() - asked_at < KILL_AFTER_S + 3


@pytest.mark.timeout(200)
async def test_a_part_that_dies_in_the_middle_of_a_restart_stops_everything(children: Children, tmp_path: Path) -> None:
    up = start(children, tmp_path, free_port())
    await up.said("The fleet is ready", within_s=START_S)
    old = part(up, "runner")
    write_bot(tmp_path, "imports slowly")
    up.signal(signal.SIGHUP)
    await up.said("runner 2   | a slow import begins", within_s=START_S)
    os.kill(old, signal.SIGKILL)
    assert await up.wait() == 1
    assert "The runner was killed by SIGKILL. Its last lines:" in up.output()


async def test_a_terminal_that_is_closed_stops_everything(children: Children, tmp_path: Path) -> None:
    """A closed terminal sends the signal that asks for a restart."""
    ours, theirs = pty.openpty()
    up = start(children, tmp_path, free_port(), terminal=theirs)
    os.close(theirs)
    await up.said("The fleet is ready", within_s=START_S)
    os.close(ours)
    assert await up.wait() == 0
    assert "Restart" not in up.output()
