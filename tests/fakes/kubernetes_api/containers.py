"""A container as this machine has it: a real process in PID and UTS namespaces of its own.

So its host name is its Pod's and its first process is number 1, as in a real container: when that one ends, the kernel
kills all the rest, and a signal that it has no handler for does nothing to it, except SIGKILL. That takes the right to
make namespaces: root, or a user namespace.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.processes import Children

_START = Path(__file__).with_name("container_start.py")
_A_DAY_S = 86_400.0


class Container:
    """One container; `children` owns its processes. It is there as soon as this is made, and runs after `begin`."""

    def __init__(self, children: Children, hostname: str, command: Sequence[str], env: dict[str, str]) -> None:
        self._pipe, inner = os.pipe()
        contained = [sys.executable, "-IS", str(_START), str(os.getpid()), str(inner), hostname, *command]
        self._child = children.start(hostname, contained, (inner,), **env)
        os.close(inner)
        self._first = 0

    async def begin(self) -> None:
        """Return when its command runs, or cannot."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        try:
            while True:
                loop.add_reader(self._pipe, told.set)
                await told.wait()
                told.clear()
                said = os.read(self._pipe, 32)
                if not said:
                    return
                self._first = int(said)
        finally:
            loop.remove_reader(self._pipe)
            os.close(self._pipe)

    @property
    def exit_code(self) -> int | None:
        """As a container runtime says it: 128 plus the signal's number where it was one; None while it runs."""
        code = self._child.exit_code
        return code if code is None or code >= 0 else 128 - code

    @property
    def pid(self) -> int:
        """Of its first process, as this machine counts."""
        assert self._first, "it does not run"
        return self._first

    def output(self) -> str:
        """What it wrote."""
        return self._child.output()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        await self._child.wait(_A_DAY_S)
        assert self.exit_code is not None
        return self.exit_code

    def ask_to_stop(self) -> None:
        """SIGTERM, as the kubelet sends it first."""
        self._child.terminate()

    def kill(self) -> None:
        """At once, and all of it: the kernel takes the rest of the namespace along."""
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(self._first or self._child.pid, signal.SIGKILL)
