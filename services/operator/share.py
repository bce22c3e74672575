"""One operator's share of the launches: those that the group `operators` has given it and that it has not let go.

An operator keeps a launch until a runner has it, so that the launches of an operator that dies are not forgotten: the
others see that they are no longer renewed, and take them.
"""

from collections.abc import Iterable
from typing import Any

from redis.exceptions import ResponseError

from shared.blocking_reader import BlockingReader
from shared.contract import CLAIMS, OVERFLOW
from shared.launches import STREAMS, EntryId, Launches
from shared.redis_connection import Redis, translated
from shared.streams import Fields

RENEW_EVERY_S = 5.0
ABANDONED_S = 15.0
"""An operator that has not renewed its share for this long has left it to the others."""
_PAGE = 100
_ALL = 100_000

Taken = list[tuple[EntryId, Fields]]


class Share:
    """The stream operations of the overflow. Every call raises `Unavailable` when Redis does not answer."""

    def __init__(self, redis: Redis, operator: str) -> None:
        self._redis = redis
        self._reader = BlockingReader(redis, OVERFLOW, operator)
        self._launches = Launches(redis)
        self._operator = operator
        self._cursor = "0"

    def look_back(self) -> None:
        """Let the next `receive` begin with what was given to this operator before: an answer may have got lost."""
        self._cursor = "0"

    async def receive(self) -> Taken:
        """Wait for launches that no operator has seen. Gives an empty list now and then."""
        if self._cursor == "0":
            for group in (CLAIMS, OVERFLOW):
                await self._launches.ensure_group(group)
        try:
            answer = await self._reader.read(lambda: dict.fromkeys(STREAMS, self._cursor), count=_ALL)
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
        return [found for stream in STREAMS for found in await self._take_over_from(stream)]

    async def let_go(self, entry: EntryId) -> None:
        """No operator needs to look at this launch any more."""
        with translated():
            for stream in STREAMS:
                await self._redis.xack(stream, OVERFLOW, entry)

    async def call_back(self) -> None:
        """End the `receive` that is under way."""
        await self._reader.call_back()

    async def leave(self) -> None:
        """Hand the share over, so that others need not wait to take it; nothing is being received any more."""
        mine = await self._mine()
        await self._claim(list(mine), idle_s=ABANDONED_S)
        if not mine:
            with translated():
                for stream in STREAMS:
                    await self._redis.xgroup_delconsumer(stream, OVERFLOW, self._operator)

    async def aclose(self) -> None:
        """Let go of the blocking connection."""
        await self._reader.aclose()

    async def _take_over_from(self, stream: str) -> Taken:
        found: Taken = []
        cursor = "0-0"
        while True:
            with translated():
                answer: Any = await self._redis.xautoclaim(
                    stream, OVERFLOW, self._operator, int(ABANDONED_S * 1000), cursor, count=_PAGE
                )
            cursor, entries = answer[:2]
            found += [(EntryId(entry), fields) for entry, fields in entries]
            if cursor == "0-0":
                return found

    async def _mine(self) -> set[EntryId]:
        mine: set[EntryId] = set()
        for stream in STREAMS:
            with translated():
                rows: Any = await self._redis.xpending_range(stream, OVERFLOW, "-", "+", _ALL, self._operator)
            mine |= {EntryId(row["message_id"]) for row in rows}
        return mine

    async def _claim(self, entries: list[EntryId], *, idle_s: float) -> None:
        if not entries:
            return
        with translated():
            for stream in STREAMS:
                # An entry that is not in this stream's list is passed over.
                await self._redis.xclaim(
                    stream, OVERFLOW, self._operator, 0, list(entries), idle=int(idle_s * 1000), justid=True
                )
