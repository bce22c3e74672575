"""Launches that were given up: what people look at, and offer again or delete."""

from typing import Any

import msgspec

from shared.contract import DEAD, DeadLetter, Launch
from shared.errors import BadEntry
from shared.launches import Launches, Offered
from shared.redis.connection import Redis, translated
from shared.redis.entries import Decoder, is_entry_id
from shared.redis.streams import Fields, between
from shared.sealing import UNSEALED, Seals

_letter = Decoder[DeadLetter](DeadLetter)


def again(launch: Launch, session_id: str) -> Launch:
    """A given-up launch as a session of its own: everything that was asked for, and nothing of what failed."""
    own_room = launch.room_url == f"{launch.transport}://{launch.session_id}"
    return msgspec.structs.replace(
        launch,
        session_id=session_id,
        room_url=f"{launch.transport}://{session_id}" if own_room else launch.room_url,
        attempt=1,
        failures=(),
        redriven_from=launch.session_id,
        traceparent="",
    )


class DeadLetters:
    """The stream `{bot}:dead`. A letter's id is its entry's. Every call raises `Unavailable` without Redis."""

    def __init__(self, redis: Redis, seals: Seals = UNSEALED) -> None:
        self._redis = redis
        self._launches = Launches(redis, seals=seals)

    async def newest(self, limit: int) -> list[tuple[str, DeadLetter]]:
        """The letters with their ids, newest first."""
        with translated():
            found: Any = await self._redis.xrevrange(DEAD, count=limit)
        return [(entry, _decoded(fields)) for entry, fields in found]

    async def read(self, letter_id: str) -> DeadLetter | None:
        """One letter, or None when there is none of this id."""
        if not is_entry_id(letter_id):
            return None
        found = await between(self._redis, DEAD, letter_id, letter_id)
        return _decoded(found[0][1]) if found else None

    def again(self, launch: Launch, session_id: str) -> Launch:
        """The same of one that may be sealed; what comes of it is sealed anew.

        Raises:
            BadEntry: it was sealed with a key that is not here.
        """
        return again(self._launches.opened(launch), session_id)

    async def redrive(self, letter_id: str, launch: Launch, *, queue_limit: int) -> Offered:
        """Offer `launch`, made by `again`, in the place of its letter. The letter goes only with `queued`.

        Of several at once one gets `queued`, the others `gone`.
        """
        return await self._launches.offer(launch, queue_limit=queue_limit, letter=letter_id)

    async def delete(self, letter_id: str) -> bool:
        """Forget a letter. False: there is none of this id."""
        if not is_entry_id(letter_id):
            return False
        with translated():
            return bool(await self._redis.xdel(DEAD, letter_id))


def _decoded(fields: Fields) -> DeadLetter:
    try:
        return _letter(fields)
    except BadEntry:
        return DeadLetter(unreadable=msgspec.json.encode(fields).decode())
