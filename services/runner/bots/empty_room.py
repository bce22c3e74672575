"""A bot leaves a room that everyone else has left, after a while: somebody may only be reloading the page."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pipecat.transports.daily.transport import DailyTransport


class EmptyRoom:
    """Knows when a Daily room was left by the last participant. Before anybody has come, it is not."""

    def __init__(self, room: DailyTransport, timeout_s: float) -> None:
        """Begin to watch the room."""
        self._room = room
        self._timeout_s = timeout_s
        self._left = asyncio.Event()
        self._returned = asyncio.Event()
        room.add_event_handler("on_client_connected", self._on_connected)
        room.add_event_handler("on_client_disconnected", self._on_disconnected)

    async def wait(self) -> None:
        """Wait until the room has been empty for the timeout."""
        while True:
            await self._left.wait()
            self._left.clear()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._returned.wait()
            except TimeoutError:
                return

    async def _on_connected(self, _: DailyTransport, __: Mapping[str, Any]) -> None:
        self._left.clear()
        self._returned.set()

    async def _on_disconnected(self, _: DailyTransport, who: Mapping[str, Any]) -> None:
        if not set(self._room.participants()) - {"local", who["id"]}:
            self._returned.clear()
            self._left.set()
