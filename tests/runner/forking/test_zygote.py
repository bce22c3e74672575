"""What a mould may be, and that ours is one."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from services.runner.forking.mould import environment
from services.runner.forking.zygote import unforkable
from tests.processes import Children

ASSISTANT = "services.runner.bots.assistant"
THREADED = "tests.bots.threaded"


@pytest.mark.parametrize(
    ("threads", "native", "sockets", "complaint"),
    [
        (0, 0, 0, ""),
        (2, 2, 0, "starts 2 thread(s)"),
        (0, 1, 0, "starts 1 native thread(s)"),
        (0, 0, 1, "opens 1 connection(s)"),
        (1, 3, 2, "starts 1 thread(s) and opens 2 connection(s)"),
        (0, 0, -1, ""),
    ],
)
def test_an_import_that_leaves_threads_or_connections_is_not_for_a_mould(
    threads: int, native: int, sockets: int, complaint: str
) -> None:
    assert unforkable(threads, native, sockets) == complaint


def moulded(children: Children, bot: str) -> tuple[int, dict[str, Any], socket.socket]:
    """A zygote that has said that it is ready: its process id, what it said, and the line to it."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        os.set_inheritable(its.fileno(), True)
        wanted = {name: value for name, value in environment().items() if name not in os.environ}
        command = [sys.executable, "-m", "services.runner.forking.zygote", str(its.fileno())]
        child = children.start("zygote", command, pass_fds=(its.fileno(),), BOT=bot, **wanted)
    ours.settimeout(60)
    return child.pid, json.loads(ours.recv(65536)), ours


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


async def test_the_built_in_bot_with_its_models_is_moulded_without_any_thread(children: Children) -> None:
    pid, said, line = moulded(children, ASSISTANT)
    with line:
        assert (said["late"], said["errors"]) == ({}, {})
        assert "onnxruntime" in Path(f"/proc/{pid}/maps").read_text()
        assert threads_of(pid) == 1


async def test_a_bot_whose_import_starts_a_thread_is_left_to_the_forked_processes(children: Children) -> None:
    pid, said, line = moulded(children, THREADED)
    with line:
        assert said["late"][""].startswith("its import starts 1 thread(s), and takes ")
        assert threads_of(pid) == 1


async def test_a_bot_whose_import_starts_a_thread_and_fails_is_known_not_to_import(children: Children) -> None:
    """It was left to the forked processes as if it were well, and cost the launches that others could have served."""
    pid, said, line = moulded(children, "tests.bots.threaded_broken")
    with line:
        assert said["errors"][""].startswith("RuntimeError: half of me is missing")
        assert threads_of(pid) == 1
