"""Timers with names."""

import asyncio
from collections.abc import Callable


class Timers:
    """Each acts once, at a time of the monotonic clock."""

    def __init__(self) -> None:
        self._handles: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    def set(self, name: str, at: float, act: Callable[[], None]) -> None:
        """Act at this time, unless closed; a later call with the same name moves it."""
        self.stop(name)
        if not self._closed:
            self._handles[name] = asyncio.get_running_loop().call_at(at, act)

    def stop(self, *names: str) -> None:
        """Let these not act any more."""
        for name in names:
            if handle := self._handles.pop(name, None):
                handle.cancel()

    def close(self) -> None:
        """Let none act any more, also none that is set after this."""
        self._closed = True
        self.stop(*self._handles)
