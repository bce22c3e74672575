"""A session's history, and the feed of all of them."""

from collections.abc import Iterable

from shared import contract
from shared.contract import EVENTS, EVENTS_KEPT, AnyEvent, Running
from shared.errors import BadEntry
from shared.redis.connection import Redis, translated
from shared.redis.entries import Decoder, encode, milliseconds
from shared.redis.streams import Fields, between
from shared.script import Script

_event = Decoder[AnyEvent](AnyEvent)

NO_KEY, NO_EXPIRY = -2, -1
"""What Redis says in place of the seconds that a key has left."""

History = list[tuple[str, AnyEvent]]
"""Entry ids, which are times, with their events."""


def decode(entries: Iterable[tuple[str, Fields]]) -> History:
    """The events of entries, without those that this version does not know."""
    history: History = []
    for entry, fields in entries:
        try:
            history.append((entry, _event(fields)))
        except BadEntry:
            continue
    return history


async def history(redis: Redis, session_id: str) -> History:
    """A session's events in order; empty when there is no such session, or it was over a day ago.

    Raises:
        Unavailable: Redis does not answer.
    """
    return decode(await between(redis, contract.session_key(session_id)))


async def histories(redis: Redis, session_ids: Iterable[str]) -> list[History]:
    """The same for many, in one round trip."""
    async with redis.pipeline(transaction=False) as pipe:
        for session_id in session_ids:
            pipe.xrange(contract.session_key(session_id))
        with translated():
            return [decode(entries) for entries in await pipe.execute()]


async def over(redis: Redis, session_ids: Iterable[str]) -> list[bool | None]:
    """Of each of these sessions whether it is over; None where there is none of this id.

    Asked of many, and often, this costs much less than their histories.

    Raises:
        Unavailable: Redis does not answer.
    """
    async with redis.pipeline(transaction=False) as pipe:
        for session_id in session_ids:
            pipe.ttl(contract.session_key(session_id))
        with translated():
            # Nothing but the end of a session lets its history expire.
            return [{NO_KEY: None, NO_EXPIRY: False}.get(ttl, True) for ttl in await pipe.execute()]


def ran_s(history: History) -> float:
    """How long ago, at the time of its last event, a session was in its room for the first time; 0 if it never was."""
    first = next((entry for entry, event in history if isinstance(event, Running)), None)
    return (milliseconds(history[-1][0]) - milliseconds(first)) / 1000 if first else 0.0


class News:
    """Writes what changes no state, such as the progress of a cold start; whoever sees it may say so."""

    def __init__(self, redis: Redis) -> None:
        self._publish = Script(redis, "publish")

    async def publish(self, event: AnyEvent) -> bool:
        """Add it to the session's history and the feed. False: there is no such session.

        Raises:
            Unavailable: Redis does not answer.
        """
        keys = [EVENTS, contract.session_key(event.session_id)]
        return bool(await self._publish(keys, [encode(event), EVENTS_KEPT]))
