"""A container as this machine has it: a real process in PID and UTS namespaces of its own.

So its host name is its Pod's, its first process is number 1, and when that one ends the kernel kills all the rest, as in
a real container; and a signal that it has no handler for does nothing to that process, except SIGKILL. That takes the right to make namespaces: root, or a user namespace.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.processes import Children

_START = Path(__file__).with_name("container_start.py")
_A_DAY_S = 86_400.0


class Container:
    """One running container; `children` owns its processes."""

    def __init__(self, children: Children, hostname: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        contained = [sys.executable, "-IS", str(_START), str(os.getpid()), hostname, *command]
        self._child = children.start(hostname, contained, **env)

    @property
    def exit_code(self) -> int | None:
        """As a container runtime says it: 128 plus the signal's number where it was one; None while it runs."""
        code = self._child.exit_code
        return code if code is None or code >= 0 else 128 - code

    @property
    def pid(self) -> int:
        """Of its first process, as this machine counts."""
        return int(Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children").read_text().split()[0])

    def output(self) -> str:
        """What it wrote."""
        return self._child.output()

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._child.wait(_A_DAY_S)

    def ask_to_stop(self) -> None:
        """SIGTERM, as the kubelet sends it first."""
        self._child.terminate()

    def kill(self) -> None:
        """At once, and all of it: the kernel takes the rest of the namespace along."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except (OSError, IndexError):  # it has not begun, or has ended
            self._child.kill()
