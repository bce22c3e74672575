"""Following streams for as long as the process lives, whatever becomes of Redis meanwhile."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

import structlog

from shared.errors import Unavailable
from shared.redis.connection import BLOCK_S, Redis, backoff_s, translated
from shared.redis.entries import order
from shared.redis.streams import Entries, read_each

BEGINNING = "0-0"
AT_ONCE = 250
"""How many entries of each stream are read in one go: few enough that those who get them can keep up."""
TOGETHER_S = 0.01
"""What comes so soon after the last batch is read together: many gateways that read each entry of a busy fleet by
itself would keep the server busier than the fleet does."""

Batch: TypeAlias = list[tuple[str, Entries]]
"""What was read in one go, by stream."""

_log = structlog.get_logger()


class Tail:
    """One reader of some streams. Entries go to `take`; `resume` is called whenever it starts to read (again).

    What was written while nobody read is still read afterwards, unless the streams lost it; so whoever waits for an
    entry must look again at `resume`.
    """

    def __init__(
        self,
        redis: Redis,
        streams: Sequence[str],
        *,
        take: Callable[[Batch], None],
        resume: Callable[[], None],
        news: bool,
    ) -> None:
        self._redis = redis
        self._streams = streams
        self._take = take
        self._resume = resume
        self._read_at = 0.0
        self.after: dict[str, str] = {} if news else dict.fromkeys(streams, BEGINNING)
        """The last entry that was read of each stream; empty: to begin with what comes next."""

    async def run(self) -> None:
        """Follow until cancelled."""
        # A connection of its own: a pool would put a new one in the place of one that broke between two reads, unseen.
        async with aclosing(self._redis.client()) as connection:
            await self._follow(connection)

    async def _follow(self, connection: Redis) -> None:
        failures = 0
        placed = False
        while True:
            try:
                if not placed:
                    self.after = await self._place()
                    self._resume()
                    placed = True
                    if failures:
                        _log.info("streams_read_again", streams=self._streams)
                    failures = 0
                await self._read(connection)
            except Exception as error:  # noqa: BLE001 - the top of a loop that must not end
                if not failures:
                    unexpected = None if isinstance(error, Unavailable) else error
                    _log.warning("streams_unread", streams=self._streams, error=str(error), exc_info=unexpected)
                placed = False
                await asyncio.sleep(backoff_s(failures))
                failures += 1

    async def _read(self, connection: Redis) -> None:
        await asyncio.sleep(self._read_at + TOGETHER_S - time.monotonic())
        batch = await read_each(connection, self.after, block_s=BLOCK_S, count=AT_ONCE)
        # Whoever is behind does not wait.
        self._read_at = time.monotonic() if all(len(entries) < AT_ONCE for _, entries in batch) else 0.0
        for stream, entries in batch:
            self.after[stream] = entries[-1][0]
        if batch:
            self._take(batch)

    async def _place(self) -> dict[str, str]:
        """Where to read on: after the last entry read, unless a server that lost some of them counts from lower."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for stream in self._streams:
                pipe.xrevrange(stream, count=1)
            with translated():
                answers: list[Any] = await pipe.execute()
        newest = [answer[0][0] if answer else BEGINNING for answer in answers]
        return {stream: self._placed(stream, last) for stream, last in zip(self._streams, newest, strict=True)}

    def _placed(self, stream: str, newest: str) -> str:
        after = self.after.get(stream, newest)
        return after if order(after) <= order(newest) else BEGINNING
