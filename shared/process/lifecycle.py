"""Stopping: the first signal asks, the second insists."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Shutdown:
    """What the process has been told so far."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Finish what is in hand, then stop."""
    insisted: asyncio.Event = field(default_factory=asyncio.Event)
    """Stop now; hand back what is in hand."""
    _signals: int = 0

    def signalled(self) -> None:
        """Take note of one more SIGTERM or SIGINT; a process that was asked by other means has had none yet."""
        self._signals += 1
        self.asked.set()
        if self._signals > 1:
            self.insisted.set()


@asynccontextmanager
async def shutdown_signals() -> AsyncIterator[Shutdown]:
    """Take SIGTERM and SIGINT for as long as the context lasts."""
    loop = asyncio.get_running_loop()
    shutdown = Shutdown()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.signalled)
    try:
        yield shutdown
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def signal_name(number: int) -> str:
    """A signal's name; real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
