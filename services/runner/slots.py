"""The slots: room for one bot each, kept warm."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from services.runner.forking.forks import ForkFailed, SessionProcess, Zygote

log = structlog.get_logger()

AGAIN_AFTER_S = 1.0
"""A slot whose process did not come up tries again after this pause."""


class Slots:
    """As many as the runner has, each with a process that waits warm or has a session."""

    def __init__(self, count: int, zygote: Zygote) -> None:
        self.count = count
        self.changed = asyncio.Event()
        """Set when a process has become warm, was taken, or is gone."""
        self._zygote = zygote
        self._idle: deque[SessionProcess] = deque()
        self._warm_or_closed = asyncio.Event()
        self._closed = False
        self._emptied = False

    @property
    def error(self) -> str:
        """Which bots do not import, and why; empty if all do."""
        return self._zygote.error

    @property
    def broken(self) -> frozenset[str]:
        """The agents whose bots do not import."""
        return frozenset(self._zygote.errors)

    def pids(self) -> set[int]:
        """The process ids of the zygote and of all processes in the slots."""
        return self._zygote.pids()

    @property
    def free(self) -> int:
        """How many wait warm."""
        return len(self._idle)

    @asynccontextmanager
    async def kept_warm(self) -> AsyncIterator[None]:
        """Fill the slots, and refill each whose process is gone. At the end the idle processes go; busy ones do not."""
        tasks = [asyncio.create_task(self._zygote.run(), name="zygote")]
        tasks += [asyncio.create_task(self._keep(), name=f"slot {number}") for number in range(self.count)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for process in self._idle:
                process.kill()
                await process.exited.wait()

    async def warm(self) -> bool:
        """Wait until a process waits. False: there is to be no new session."""
        await self._warm_or_closed.wait()
        return not self._closed

    async def take(self) -> SessionProcess:
        """Take the process that has waited longest; its slot is filled again once it is gone."""
        while not self._idle:
            self._warm_or_closed.clear()
            await self._warm_or_closed.wait()
        process = self._idle.popleft()
        self._note()
        return process

    def empty(self) -> None:
        """Send the idle processes away, and fill no slot again."""
        self._emptied = True
        for process in self._idle:
            process.kill()

    def close(self) -> None:
        """Let nobody wait for a warm process any more."""
        self._closed = True
        self._warm_or_closed.set()

    async def _keep(self) -> None:
        while not self._emptied:
            try:
                process = await self._zygote.fork()
            except (ForkFailed, OSError) as error:
                log.warning("slot_not_warm", error=str(error))
                await asyncio.sleep(AGAIN_AFTER_S)
                continue
            self._idle.append(process)
            self._note()
            await process.exited.wait()
            if process in self._idle:
                self._idle.remove(process)
            self._note()

    def _note(self) -> None:
        self.changed.set()
        if self._idle or self._closed:
            self._warm_or_closed.set()
        else:
            self._warm_or_closed.clear()
