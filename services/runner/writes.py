"""What one session writes to Redis: in order, and again while Redis is away."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeAlias

import structlog

from shared.errors import Unavailable
from shared.redis.connection import backoff_s

log = structlog.get_logger()

Write: TypeAlias = Callable[[], Awaitable[object]]


class Writes:
    """They wait for each other. What cannot be written is given up once `pointless`."""

    def __init__(self, pointless: Callable[[], bool]) -> None:
        self._pointless = pointless
        self._queue: asyncio.Queue[Write | None] = asyncio.Queue()

    def put(self, write: Write) -> None:
        """Have this written after all that came before it."""
        self._queue.put_nowait(write)

    def end(self) -> None:
        """There is no more."""
        self._queue.put_nowait(None)

    async def run(self) -> None:
        """Write until there is no more. What comes too late changes nothing: the scripts check the lease."""
        while write := await self._queue.get():
            for tries in count():
                try:
                    await write()
                    break
                except Unavailable:
                    if self._pointless():
                        break
                    await asyncio.sleep(backoff_s(tries))
                except Exception:
                    # Nothing that another try would mend. What it leaves undone, the stale lease brings to notice.
                    log.exception("write_failed")
                    break
