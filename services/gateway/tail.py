"""Following a stream for as long as the process lives, whatever becomes of Redis meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from shared.errors import Unavailable
from shared.redis_connection import BLOCK_S, Redis, backoff_s, translated
from shared.streams import Entries, read

BEGINNING = "0-0"

_log = structlog.get_logger()


class Tail:
    """One reader of one stream. Entries go to `take`; `resume` is called whenever it starts to read (again).

    What was written while nobody read is still read afterwards, unless the stream lost it; so whoever waits for an
    entry must look again at `resume`.
    """

    def __init__(
        self, redis: Redis, stream: str, *, take: Callable[[Entries], None], resume: Callable[[], None], news: bool
    ) -> None:
        self._redis = redis
        self._stream = stream
        self._take = take
        self._resume = resume
        self._after = None if news else BEGINNING
        """The last entry that was read; None: to begin with what comes next."""

    async def run(self) -> None:
        """Follow until cancelled."""
        failures = 0
        placed = False
        while True:
            try:
                if not placed:
                    self._after = await self._place()
                    self._resume()
                    placed = True
                    if failures:
                        _log.info("stream_read_again", stream=self._stream)
                    failures = 0
                await self._read()
            except Exception as error:  # noqa: BLE001 - the top of a loop that must not end
                if not failures:
                    unexpected = None if isinstance(error, Unavailable) else error
                    _log.warning("stream_unread", stream=self._stream, error=str(error), exc_info=unexpected)
                placed = False
                await asyncio.sleep(backoff_s(failures))
                failures += 1

    async def _read(self) -> None:
        entries = await read(self._redis, self._stream, self._after or BEGINNING, block_s=BLOCK_S)
        if entries:
            self._after = entries[-1][0]
            self._take(entries)

    async def _place(self) -> str:
        """Where to read on: after the last entry read, unless a server that lost some of them counts from lower."""
        with translated():
            newest: Any = await self._redis.xrevrange(self._stream, count=1)
        last: str = newest[0][0] if newest else BEGINNING
        if self._after is None:
            return last
        return self._after if _order(self._after) <= _order(last) else BEGINNING


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence or 0)
