"""Rooms at Daily that are made for one session, for `createDailyRoom`."""

import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from services.gateway.daily.api import DailyApi, DailyError
from services.gateway.daily.room_removal import RoomRemoval
from services.gateway.errors import DailyFailed, HttpError, Invalid, RateLimited
from shared.contract import FIELD, ROOMS, Launch, RoomNote
from shared.errors import Unavailable
from shared.redis.connection import Redis, translated
from shared.redis.entries import encode
from shared.rooms import BadRoom, canonical

OUTLASTS_S = 300.0
"""How much longer than its session can last a room is good for, should nobody be left to remove it."""


@dataclass(frozen=True)
class NewRoom:
    """A room and the way into it. `note` is the entry that has it removed."""

    url: str
    token: str
    note: str
    name: str


def name_of(session_id: str) -> str:
    """The room of a session; short enough for Daily."""
    return f"pf-{uuid.UUID(session_id).hex}"


def room_properties(given: dict[str, Any], launch: Launch, max_attempts: int, now: float) -> dict[str, Any]:
    """What the caller wants of the room, and an end that no session outlasts unless the caller says another."""
    longest_s = launch.deadline_s * max_attempts + launch.max_duration_s + OUTLASTS_S
    return {"exp": int(now + longest_s), "eject_at_room_exp": True, **given}


def token_properties(given: dict[str, Any], room_name: str, exp: Any) -> dict[str, Any]:
    """What the caller wants of the client's token, which is for this room only."""
    return {"exp": exp, **given, "room_name": room_name}


class DailyRooms:
    """Makes them. What is made here is removed by `room_removal`, whatever crashes."""

    def __init__(self, redis: Redis, api: DailyApi, removal: RoomRemoval, max_attempts: int) -> None:
        self._redis = redis
        self._api = api
        self._removal = removal
        self._max_attempts = max_attempts

    async def make(self, launch: Launch, room: dict[str, Any], token: dict[str, Any]) -> NewRoom:
        """A room for this session, and a token for its client.

        Raises:
            Invalid: Daily does not take these properties.
            RateLimited: Daily has no time.
            DailyFailed: Daily does not do it.
            Unavailable: Redis does not answer.
        """
        name = name_of(launch.session_id)
        properties = room_properties(room, launch, self._max_attempts, time.time())
        note = await self._note(RoomNote(session_id=launch.session_id, room_name=name))
        field = "dailyRoomProperties"
        try:
            url = canonical((await self._api.create_room(name, properties)).url)
            field = "dailyMeetingTokenProperties"
            client = await self._api.create_token(token_properties(token, name, properties["exp"]))
        except DailyError as error:
            if not error.away:
                await self.remove(note, name)
            raise _translated(error, field) from error
        except BadRoom as error:
            await self.remove(note, name)
            raise DailyFailed(f"its URL {error}") from None
        return NewRoom(url=url, token=client, note=note, name=name)

    async def remove(self, note: str, name: str) -> None:
        """Take a room back at once, or, if Daily does not, with those that no session came to."""
        with suppress(DailyError, Unavailable):
            await self._removal.remove(note, name)

    async def _note(self, note: RoomNote) -> str:
        with translated():
            return str(await self._redis.xadd(ROOMS, {FIELD: encode(note)}))


def _translated(error: DailyError, field: str) -> HttpError:
    if error.busy:
        return RateLimited()
    return Invalid(field, str(error)) if error.wrong_request else DailyFailed(str(error))
