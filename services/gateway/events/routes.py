"""`GET /events` and `GET /sessions/{id}/events`: server-sent events."""

from typing import Annotated

from litestar import get
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from services.gateway.documentation import SESSION_ID, documented
from services.gateway.errors import Away, InvalidQuery, NotFound
from services.gateway.events import backlog, positions
from services.gateway.events.positions import Position
from services.gateway.events.stream import EventStream, Streaming
from services.gateway.events.subscribers import Subscription
from services.gateway.events.told import ACTIVITY_TYPES, FLEET, STATE_TYPES
from services.gateway.parts import NO_SESSION, Injected, Parts
from shared import events
from shared.contract import Ended, Failed

Types = Annotated[str, QueryParameter(description="Only these types, separated by commas; all where there are none.")]
FleetTypes = Annotated[
    str,
    QueryParameter(
        description="Only these types, separated by commas; all but `fleet` where there are none. "
        "`fleet` is what `GET /fleet` says: at first, and when it has changed."
    ),
]
LabelNames = Annotated[
    list[str] | None,
    QueryParameter(name="labels", description="Only of sessions with this label, `key:value`; may be repeated."),
]
LastId = Annotated[
    str | None, QueryParameter(description="As the header `Last-Event-ID`, for clients that cannot set one.")
]
LastIdHeader = Annotated[
    str | None, HeaderParameter(name="Last-Event-ID", description="The id of the last event that was received.")
]

_EXAMPLE = (
    "id: 1769860800250-0_1769860800100-0\nevent: running\n"
    f'data: {{"type":"running","at":"2026-01-31T12:00:00.250Z","session_id":"{SESSION_ID}","attempt":1}}\n\n'
)


def _bad_type(name: str, *more: str) -> InvalidQuery:
    known = ", ".join(STATE_TYPES + ACTIVITY_TYPES + more)
    return InvalidQuery("types", f"there is no {name!r}; there are {known}")


@get("/events", tags=["events"], **documented({200: _EXAMPLE}, _bad_type("run", FLEET), Away()))
async def all_events(
    parts: Injected,
    types: FleetTypes = "",
    labels: LabelNames = None,
    last_event_id: LastId = None,
    last_event_id_header: LastIdHeader = None,
) -> ASGIApp:
    """Follow the events of all sessions: from now on, or from the last one that was received."""
    subscription = Subscription(None, chosen(types, FLEET))
    position = _position(last_event_id_header, last_event_id)
    return _streaming(parts, subscription, position, wanted=pairs(labels or []))


@get(
    "/sessions/{session_id:str}/events",
    tags=["events"],
    **documented({200: _EXAMPLE, 204: None}, _bad_type("run"), NotFound(NO_SESSION), Away()),
)
async def session_events(
    session_id: FromPath[str],
    parts: Injected,
    types: Types = "",
    last_event_id: LastId = None,
    last_event_id_header: LastIdHeader = None,
) -> ASGIApp:
    """Follow the events of one session: from its beginning, or the last one received, to its end.

    204, by which an `EventSource` ceases to come back, when it has received the last one.
    """
    subscription = Subscription(session_id, chosen(types))
    position = _position(last_event_id_header, last_event_id) or Position()
    history = await events.history(parts.redis, session_id)
    if not history:
        raise NotFound(NO_SESSION)
    # News of a cold start can come after the end.
    over = any(isinstance(event, Ended | Failed) for _, event in history)
    if over:
        rest = await backlog.after(parts.redis, session_id, position)
        if not (rest.told or rest.gaps or rest.more):
            return ASGIResponse(status_code=204)
    return _streaming(parts, subscription, position, over=over)


def _streaming(
    parts: Parts,
    subscription: Subscription,
    position: Position | None,
    *,
    wanted: dict[str, str] | None = None,
    over: bool = False,
) -> Streaming:
    stream = EventStream(parts.redis, subscription, position, labels=parts.feed.labels, wanted=wanted or {}, over=over)
    return Streaming(stream, subscription, parts.feed.subscribers)


def chosen(types: str, *more: str) -> frozenset[str] | None:
    """The types that a client names, of those of all events and these; None for all events.

    Raises:
        InvalidQuery: there is no such type.
    """
    names = frozenset(name for part in types.split(",") if (name := part.strip()))
    for name in sorted(names - {*STATE_TYPES, *ACTIVITY_TYPES, *more}):
        raise _bad_type(name, *more)
    return names or None


def pairs(labels: list[str]) -> dict[str, str]:
    """Labels by name.

    Raises:
        InvalidQuery: one is not `key:value`.
    """
    found = {}
    for label in labels:
        name, colon, value = label.partition(":")
        if not name or not colon:
            raise InvalidQuery("labels", f"expected key:value, got {label!r}")
        found[name] = value
    return found


def _position(header: str | None, query: str | None) -> Position | None:
    """Where the client is. A browser that comes back sets the header, and keeps the address that it began with."""
    text = header or query
    if not text:
        return None
    try:
        return positions.parse(text)
    except ValueError as error:
        raise InvalidQuery("Last-Event-ID" if header else "last_event_id", str(error)) from None
