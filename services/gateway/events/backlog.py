"""What was written after a client's position, and what of it is lost."""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from redis.exceptions import ResponseError

from services.gateway.events import told
from services.gateway.events.positions import START, Position, entry_id, rank
from services.gateway.events.told import Told
from shared import contract
from shared.contract import ACTIVITY, EVENTS
from shared.redis.connection import Redis, translated
from shared.redis.entries import Order, order

PAGE = 500
"""How many entries of each stream are read in one go."""

Feed: TypeAlias = Literal["events", "activity"]


@dataclass(frozen=True)
class Gap:
    """What was written between these two is lost to the client, as far as it was for it."""

    feed: Feed
    since: Order
    until: Order


@dataclass(frozen=True)
class Page:
    """What follows a position, oldest first."""

    gaps: tuple[Gap, ...]
    told: tuple[Told, ...]
    end: Position
    """Where whoever has read it is."""
    more: bool


def streams(session_id: str | None) -> tuple[str, str]:
    """The streams with the events of one session, or of all."""
    if session_id is None:
        return EVENTS, ACTIVITY
    return contract.session_key(session_id), contract.activity_key(session_id)


async def newest(redis: Redis) -> Position:
    """Where whoever has read everything is.

    Raises:
        Unavailable: Redis does not answer.
    """
    return Position(*[_last(about) for about in (await _ask(redis, None, Position()))[:2]])


async def after(redis: Redis, session_id: str | None, position: Position) -> Page:
    """The next page for a client that is at `position`.

    Raises:
        Unavailable: Redis does not answer.
    """
    answers = await _ask(redis, session_id, position)
    ahead = _ahead(position, Position(_last(answers[0]), _last(answers[1])))
    if ahead:
        begin = replace(position, **{gap.feed: START for gap in ahead})
        return Page(ahead, (), begin, more=True)
    gaps = _trimmed(position, Position(_oldest(answers[2]), _oldest(answers[4])))
    pages = ((True, answers[3]), (False, answers[5]))
    found = [(order(entry), is_state, entry, fields) for is_state, page in pages for entry, fields in page]
    found.sort(key=lambda one: rank(one[0], is_state=one[1]))
    # Of a stream that goes on nobody knows what comes between its last entry here and the other stream's.
    full = [rank(order(page[-1][0]), is_state=is_state) for is_state, page in pages if len(page) == PAGE]
    shown = []
    for at, is_state, entry, fields in found:
        if full and rank(at, is_state=is_state) > min(full):
            break
        if one := told.read(entry, fields, is_state=is_state, before=position):
            shown.append(one)
        position = position.after(at, is_state=is_state)
    return Page(gaps, tuple(shown), position, more=bool(full))


async def _ask(redis: Redis, session_id: str | None, position: Position) -> list[Any]:
    """In one moment: what the fleet's two streams are; and of each that is asked for what it is, and its next page."""
    async with redis.pipeline(transaction=True) as pipe:
        for stream in (EVENTS, ACTIVITY):
            pipe.xinfo_stream(stream)
        for stream, since in zip(streams(session_id), _parts(position), strict=True):
            pipe.xinfo_stream(stream)
            pipe.xrange(stream, f"({entry_id(since)}", count=PAGE)
        with translated():
            answers = await pipe.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, Exception) and not _is_missing(answer):
                    raise answer
    return [None if isinstance(answer, Exception) else answer for answer in answers]


def _is_missing(error: Exception) -> bool:
    return isinstance(error, ResponseError) and "no such key" in str(error)


def _parts(position: Position) -> tuple[Order, Order]:
    return position.events, position.activity


def _last(about: Any) -> Order:
    return order(about["last-generated-id"]) if about else START


def _oldest(about: Any) -> Order:
    """The oldest entry of a stream that has lost older ones."""
    if not about or about["entries-added"] == about["length"] or not about["first-entry"]:
        return START
    return order(about["first-entry"][0])


def _trimmed(position: Position, oldest: Position) -> tuple[Gap, ...]:
    """Where a client has read less than is lost."""
    return tuple(Gap(feed, since, first) for feed, since, first in _each(position, oldest) if since < first)


def _ahead(position: Position, last: Position) -> tuple[Gap, ...]:
    """Where a client has read more than there is: the server has come back without its newest entries."""
    return tuple(Gap(feed, since, until) for feed, since, until in _each(position, last) if since > until)


def _each(one: Position, other: Position) -> tuple[tuple[Feed, Order, Order], ...]:
    return ("events", one.events, other.events), ("activity", one.activity, other.activity)
