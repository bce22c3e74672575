"""Rooms at Daily whose session is over, or never came to be, are removed.

A room that a gateway made for a session would stay, with whoever is still in it, and count against the account's
rooms until it expires: nobody else knows that it was for that session. Every gateway with a DAILY_API_KEY looks for
such rooms as soon as the feed says that a session is over, and every few seconds besides. A room whose session was
never accepted, because the gateway crashed or Daily failed on the way, goes after a grace. While Daily is away it is
asked ever less often.
"""

import asyncio
import random

import structlog

from services.gateway.daily.api import DailyApi, DailyError
from services.gateway.events.feed import Feed
from shared import events
from shared.contract import REMOVERS, ROOMS, RoomNote
from shared.errors import BadEntry, Unavailable
from shared.redis.connection import Redis, translated
from shared.redis.entries import Decoder, milliseconds
from shared.redis.streams import between, ensure_group

LOOK_EVERY_S = 5.0
ACCEPTED_WITHIN_S = 60.0
"""A room without a session for this long gets none any more: a start takes less, or has failed."""
CLAIM_S = 15.0
"""How long a gateway may take to remove a room before another one tries; longer than Daily may take to answer."""
PACE_S = 0.5
"""Between two removals: Daily lets an account make two a second."""
LONGEST_PAUSE_S = 60.0

_note = Decoder[RoomNote](RoomNote)
_log = structlog.get_logger()


def to_be_removed(over: bool | None, noted_ms: int, now_ms: int) -> bool:
    """Whether nobody needs a session's room any more; `over` is None where there is no session, or none yet."""
    if over is not None:
        return over
    return now_ms - noted_ms > ACCEPTED_WITHIN_S * 1000


class RoomRemoval:
    """One gateway's part in it. Who removes a room holds its note, so that several do not ask Daily for the same."""

    def __init__(self, redis: Redis, api: DailyApi, feed: Feed, gateway_id: str) -> None:
        self._redis = redis
        self._api = api
        self._feed = feed
        self._gateway_id = gateway_id

    async def run(self) -> None:
        """Look and remove until cancelled."""
        failures = 0
        while True:
            try:
                await self._look()
                failures = 0
                await self._feed.ends.changed(LOOK_EVERY_S)
            except Exception as error:  # noqa: BLE001 - the top of a loop that must not end
                if not failures:
                    unexpected = None if isinstance(error, Unavailable | DailyError) else error
                    _log.warning("rooms_not_removed", error=str(error), exc_info=unexpected)
                await asyncio.sleep(pause_s(failures))
                failures += 1

    async def remove(self, note: str, room_name: str) -> bool:
        """Remove a room now and forget it. False: another gateway is at it.

        Raises:
            DailyError: Daily does not do it; any gateway may try again.
            Unavailable: Redis does not answer.
        """
        await ensure_group(self._redis, ROOMS, REMOVERS)
        if not await self._claim(note, CLAIM_S):
            return False
        try:
            await self._api.delete_room(room_name)
        except DailyError:
            await self._claim(note, 0, idle_s=CLAIM_S)
            raise
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xack(ROOMS, REMOVERS, note)
            pipe.xdel(ROOMS, note)
            with translated():
                await pipe.execute()
        return True

    async def _look(self) -> None:
        """Remove what there is to remove; what Daily refuses keeps no other room.

        Raises:
            DailyError: it did not remove one of them.
        """
        refused: DailyError | None = None
        for note, room in await self._unneeded():
            try:
                if await self.remove(note, room.room_name):
                    _log.info("room_removed", session_id=room.session_id)
                    await asyncio.sleep(PACE_S)
            except DailyError as error:
                if error.away:
                    raise
                refused = error
        if refused:
            raise refused

    async def _unneeded(self) -> list[tuple[str, RoomNote]]:
        noted = [(entry, self._read(fields)) for entry, fields in await between(self._redis, ROOMS)]
        rooms = [(entry, room) for entry, room in noted if room]
        if not rooms:
            return []
        with translated():
            seconds, microseconds = await self._redis.time()
        now_ms = seconds * 1000 + microseconds // 1000
        over = await events.over(self._redis, [room.session_id for _, room in rooms])
        return [
            (entry, room)
            for (entry, room), its in zip(rooms, over, strict=True)
            if to_be_removed(its, milliseconds(entry), now_ms)
        ]

    def _read(self, fields: dict[str, str]) -> RoomNote | None:
        try:
            return _note(fields)
        except BadEntry:
            return None  # of a later version, whose gateways will see to it

    async def _claim(self, note: str, after_s: float, idle_s: float = 0.0) -> bool:
        """Hold a note that nobody has held for so long; `idle_s` makes it look as if held for that long already."""
        ms = int(after_s * 1000)
        with translated():
            claimed = await self._redis.xclaim(
                ROOMS, REMOVERS, self._gateway_id, ms, [note], idle=int(idle_s * 1000), force=True, justid=True
            )
        return bool(claimed)


def pause_s(failures: int) -> float:
    """How long Daily, or Redis, is left alone after so many failures in a row before this one."""
    longest_s: float = min(1.0 * 2 ** min(failures, 10), LONGEST_PAUSE_S)
    return random.uniform(0.5, 1.0) * longest_s  # noqa: S311 - jitter is no secret
