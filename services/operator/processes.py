"""Cold runners as processes of this machine: for development, and for a fleet on one host.

They are the operator's own: nobody else would end them. When the operator stops, they are asked to drain, and it waits.
"""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import structlog

from services.operator.launcher import LaunchError, Outlook, Trouble
from shared.process.lifecycle import Shutdown, signal_name
from shared.settings import inherited

HAND_BACK_S = 15.0
"""How long a runner that was told twice may take to hand back its session: longer than a bot's stop grace."""
CLAIM_WITHIN_S = 30.0
"""A cold runner that lives for this long while its launch waits has taken another one, or hangs."""
RUNNER = (sys.executable, "-m", "services.runner")

log = structlog.get_logger()


class ColdProcess:
    """One runner process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._began = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def outlook(self) -> Outlook:
        """As of this moment."""
        return outlook(self._process.returncode, time.monotonic() - self._began)

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """To the runner alone."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        """The runner and whatever of it is in its session."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


class Processes:
    """The `process` launcher."""

    name = "process"

    def __init__(self, cold_max: int, command: Sequence[str] = RUNNER, *, hand_back_s: float = HAND_BACK_S) -> None:
        self._cold_max = cold_max
        self._command = command
        self._hand_back_s = hand_back_s
        self._watches: dict[asyncio.Task[None], ColdProcess] = {}

    def alive(self) -> int:
        """How many have not ended."""
        return sum(process.alive for process in self._watches.values())

    async def look(self) -> None:
        """Nothing to find out: the system says at once when a child has ended."""

    def room(self) -> int:
        """How many more may be started."""
        return self._cold_max - self.alive()

    def find(self, session_id: str, attempt: int) -> None:
        """Nobody else starts processes here."""

    async def start(self, session_id: str, attempt: int, changed: Callable[[], None]) -> ColdProcess:
        """Start a runner that serves one launch, in a session of its own: Ctrl-C on a terminal is for the operator.

        Raises:
            LaunchError: the system refused.
        """
        environ = inherited(
            RUNNER_AUTO_START="1", RUNNER_SLOTS="1", HEALTH_PORT="0", DAILY_ROOM_URL=None, DAILY_TOKEN=None
        )
        try:
            started = await asyncio.create_subprocess_exec(*self._command, env=environ, start_new_session=True)
        except OSError as error:
            raise LaunchError(f"the runner process did not start: {error.strerror}", "NotStarted") from error
        process = ColdProcess(started)
        watch = asyncio.create_task(self._watch(process, changed), name=f"cold runner {started.pid}")
        self._watches[watch] = process
        return process

    async def stop(self, shutdown: Shutdown) -> None:
        """Ask all to drain and wait for them: for as long as a call lasts, or until `shutdown` insists."""
        if not self._watches:
            return
        log.info("cold_runners_draining", count=self.alive())
        await self._tell(signal.SIGTERM, shutdown.insisted.wait())
        if self._watches:
            log.warning("cold_runners_hand_back", count=self.alive(), within_s=self._hand_back_s)
            # Two signals of one number that wait for a process are one to it.
            await self._tell(signal.SIGINT, asyncio.sleep(self._hand_back_s))
        for process in self._watches.values():
            process.kill()
        await asyncio.gather(*self._watches)

    async def _tell(self, number: signal.Signals, patience: Coroutine[Any, Any, object]) -> None:
        """One signal to each, and time to obey until `patience` is over."""
        for process in self._watches.values():
            process.signal(number)
        async with asyncio.TaskGroup() as group:
            limit = group.create_task(patience)
            everyone = group.create_task(asyncio.wait(list(self._watches)))
            await asyncio.wait({limit, everyone}, return_when=asyncio.FIRST_COMPLETED)
            limit.cancel()
            everyone.cancel()

    async def _watch(self, process: ColdProcess, changed: Callable[[], None]) -> None:
        await process.wait()
        self._watches = {watch: other for watch, other in self._watches.items() if other is not process}
        changed()


def outlook(exit_code: int | None, lived_s: float) -> Outlook:
    """What an exit code says: None is a runner that lives, zero one that has served its launch, or found none."""
    if exit_code is None:
        return Outlook(coming=lived_s < CLAIM_WITHIN_S)
    if exit_code < 0:
        return Outlook(False, trouble=Trouble("Killed", f"the cold runner was killed by {signal_name(-exit_code)}"))
    if exit_code:
        return Outlook(False, trouble=Trouble("Error", f"the cold runner exited with code {exit_code}"))
    return Outlook(False)
