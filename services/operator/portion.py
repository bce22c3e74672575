"""One operator's portion of the entries of some streams: those that a group has given it and that it has not let go.

An operator keeps an entry until it is dealt with, so that those of an operator that dies are not forgotten: the others
see that they are no longer renewed, and take them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from redis.exceptions import ResponseError

from shared.launches import EntryId
from shared.redis.blocking_reader import BlockingReader
from shared.redis.connection import Redis, translated
from shared.redis.streams import Fields, ensure_group
from shared.script import Script
from shared.sweep import CONSUMER_GONE_S

RENEW_EVERY_S = 5.0
ABANDONED_S = 15.0
"""An operator that has not renewed its portion for this long has left it to the others."""
_PAGE = 100
_ALL = 100_000

Taken = list[tuple[EntryId, Fields]]


class Portion:
    """The operations on it. Every call raises `Unavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, operator: str, group: str, streams: Sequence[str], *, start: str = "0") -> None:
        """A group that is not there yet begins at `start`: `0` for all that there is, `$` for what comes later."""
        self._redis = redis
        self._reader = BlockingReader(redis, group, operator)
        self._operator = operator
        self._group = group
        self._streams = tuple(streams)
        self._start = start
        self._drop_consumers = Script(redis, "drop_consumers")
        self._cursor = "0"
        self.dropped = 0
        """How many abandoned entries were not in their stream any more when they were to be taken over."""

    def look_back(self) -> None:
        """Let the next `receive` begin with what was given to this operator before: an answer may have got lost."""
        self._cursor = "0"

    async def receive(self, count: int = _ALL) -> Taken:
        """Wait for entries that no operator has seen. Gives an empty list now and then."""
        if self._cursor == "0":
            await self._prepare()
        try:
            answer = await self._reader.read(lambda: dict.fromkeys(self._streams, self._cursor), count=count)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            self.look_back()
            return []
        self._cursor = ">"
        return [(EntryId(entry), fields) for _, entries in answer for entry, fields in entries]

    async def renew(self, held: Iterable[EntryId]) -> set[EntryId]:
        """Keep the others away from what is held. Gives what others have taken all the same, or is gone."""
        held = set(held)  # what is received meanwhile is neither
        mine = await self._mine()
        await self._claim([entry for entry in held if entry in mine], idle_s=0)
        return held - mine

    async def take_over(self) -> Taken:
        """Take what other operators have abandoned."""
        return [found for stream in self._streams for found in await self._take_over_from(stream)]

    async def let_go(self, entry: EntryId) -> None:
        """No operator needs to look at this entry any more."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for stream in self._streams:
                pipe.xack(stream, self._group, entry)
            with translated():
                await pipe.execute()

    async def call_back(self) -> None:
        """End the `receive` that is under way."""
        await self._reader.call_back()

    async def leave(self) -> None:
        """Hand the share over, so that others need not wait to take it; nothing is being received any more."""
        mine = await self._mine()
        await self._claim(list(mine), idle_s=ABANDONED_S)
        if not mine:
            with translated():
                for stream in self._streams:
                    await self._redis.xgroup_delconsumer(stream, self._group, self._operator)

    async def drop_gone(self) -> None:
        """Have the group forget operators that hold nothing and that it has not heard of for long."""
        for stream in self._streams:
            await self._drop_consumers([stream], [self._group, int(CONSUMER_GONE_S * 1000)])

    async def aclose(self) -> None:
        """Let go of the blocking connection."""
        await self._reader.aclose()

    async def never_read(self, stream: str) -> int:
        """How many entries a stream has dropped before anyone in the group was given them, as far as it is known."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xinfo_stream(stream)
            pipe.xinfo_groups(stream)
            with translated():
                about, groups = await pipe.execute()
        read = next((group["entries-read"] for group in groups if group["name"] == self._group), None)
        return 0 if read is None else max(about["entries-added"] - about["length"] - read, 0)

    async def _prepare(self) -> None:
        """Create what is read, if it is not there."""
        for stream in self._streams:
            await ensure_group(self._redis, stream, self._group, self._start)

    async def _take_over_from(self, stream: str) -> Taken:
        found: Taken = []
        cursor = "0-0"
        while True:
            with translated():
                answer: Any = await self._redis.xautoclaim(
                    stream, self._group, self._operator, int(ABANDONED_S * 1000), cursor, count=_PAGE
                )
            cursor, entries, gone = answer
            self.dropped += len(gone)
            found += [(EntryId(entry), fields) for entry, fields in entries]
            if cursor == "0-0":
                return found

    async def _mine(self) -> set[EntryId]:
        mine: set[EntryId] = set()
        for stream in self._streams:
            with translated():
                rows: Any = await self._redis.xpending_range(stream, self._group, "-", "+", _ALL, self._operator)
            mine |= {EntryId(row["message_id"]) for row in rows}
        return mine

    async def _claim(self, entries: list[EntryId], *, idle_s: float) -> None:
        if not entries:
            return
        with translated():
            for stream in self._streams:
                # An entry that is not in this stream's list is passed over.
                await self._redis.xclaim(
                    stream, self._group, self._operator, 0, list(entries), idle=int(idle_s * 1000), justid=True
                )
