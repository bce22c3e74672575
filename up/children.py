"""The processes below this one: none outlives it, and none is left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ORPHANS_GONE_WITHIN_S = 2.0
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def dies_with_us(command: Sequence[str]) -> list[str]:
    """The same command, for a process that the kernel kills when this one is gone, however it went."""
    return [sys.executable, "-ISc", _DIE_WITH_PARENT, str(os.getpid()), *command]


def living_children() -> set[int]:
    """The process ids of this process's children; zombies do not count."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid = int(entry.name)
            state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(parent) == os.getpid() and state != "Z":
                found.add(pid)
    return found


async def end_orphans() -> None:
    """Wait a little for what the parts left behind, then kill it, and what that leaves behind in turn."""
    loop = asyncio.get_running_loop()
    patience_ends = loop.time() + ORPHANS_GONE_WITHIN_S
    while orphans := living_children():
        if loop.time() > patience_ends:
            for pid in orphans:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.02)
