"""`GET /sessions` and `GET /sessions/{id}`."""

from typing import Annotated, Any

import msgspec
import structlog
from litestar import get
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, UnsetType

from services.gateway import sessions
from services.gateway.documentation import BAD_LIMIT, documented
from services.gateway.errors import Away, InvalidQuery, NotFound
from services.gateway.join import EXAMPLE
from services.gateway.parts import NO_SESSION, Injected
from services.gateway.sessions import Session
from shared import events, launches
from shared.contract import Reason, Start, Status, Transport
from shared.errors import BadEntry
from shared.events import History
from shared.redis.entries import is_entry_id, moment

_log = structlog.get_logger()


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A session. Times are RFC 3339 in UTC, with milliseconds."""

    session_id: str
    room_url: str
    transport: Transport
    status: Status
    leaving: bool
    """Its bot has been told to leave, and the session is about to end."""
    reason: Reason | None
    """Why it is over; while it is queued again, why its last attempt came to nothing."""
    message: str
    attempt: int
    start: Start | None
    """Whether the runner was waiting for it (warm) or was started for it (cold)."""
    runner: str | None
    created_at: str
    ended_at: str | UnsetType = UNSET
    labels: dict[str, str]
    agent: str
    """Which of the fleet's bots; empty for the default one."""
    redriven_from: str | UnsetType = UNSET
    """The session that was given up, where this one took its dead letter's place."""
    timeline: list[dict[str, Any]] | UnsetType = UNSET
    """All its events in order: `type`, `at`, and what else the event says."""


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    """Live sessions, oldest first."""

    sessions: list[SessionView]
    next: str | UnsetType = UNSET
    """Where the list goes on, for `after`; missing at its end."""


Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many sessions at most.")]
After = Annotated[str, QueryParameter(description="Only what follows `next` of an earlier answer.")]
OfAgent = Annotated[str | None, QueryParameter(description="Only the sessions of this agent; empty: the default one.")]


_RUNNING = SessionView(
    session_id=EXAMPLE.session_id,
    room_url=EXAMPLE.room_url,
    transport=EXAMPLE.transport,
    status=Status.RUNNING,
    leaving=False,
    reason=None,
    message="",
    attempt=1,
    start="warm",
    runner="host-4711-9f",
    created_at="2026-01-31T12:00:00.000Z",
    labels={"team": "a"},
    agent="sales",
)
_TIMELINE = [{"type": "running", "at": "2026-01-31T12:00:00.250Z", "attempt": 1}]


@get(
    "/sessions",
    tags=["sessions"],
    **documented({200: SessionList(sessions=[_RUNNING])}, BAD_LIMIT, Away()),
)
async def live_sessions(parts: Injected, limit: Limit = 100, agent: OfAgent = None, after: After = "") -> SessionList:
    """List the sessions that are not over."""
    if after and not is_entry_id(after):
        raise InvalidQuery("after", "must be `next` of an earlier answer, <number>-<number>")
    ids = []
    found = await parts.launches.live(limit, agent=agent, after=after)
    for entry, fields in found:
        try:
            ids.append(launches.decode(fields).session_id)
        except BadEntry:
            _log.warning("launch_unreadable", launch=entry)
    listed = [view(session) for session in await sessions.read_all(parts.redis, ids)]
    return SessionList(sessions=listed, next=found[-1][0] if len(found) == limit else UNSET)


@get(
    "/sessions/{session_id:str}",
    tags=["sessions"],
    **documented({200: msgspec.structs.replace(_RUNNING, timeline=_TIMELINE)}, NotFound(NO_SESSION), Away()),
)
async def one_session(session_id: FromPath[str], parts: Injected) -> SessionView:
    """Show one session with its timeline, also for a day after its end."""
    history = await events.history(parts.redis, session_id)
    session = sessions.fold(history)
    if session is None:
        raise NotFound(NO_SESSION)
    return msgspec.structs.replace(view(session), timeline=timeline(history))


def view(session: Session) -> SessionView:
    """A session as it is shown, without timeline."""
    return SessionView(
        session_id=session.session_id,
        room_url=session.room_url,
        transport=session.transport,
        status=session.status,
        leaving=session.leaving,
        reason=session.reason,
        message=session.message,
        attempt=session.attempt,
        start=session.start,
        runner=session.runner,
        created_at=session.created_at,
        ended_at=session.ended_at or UNSET,
        labels=session.labels,
        agent=session.agent,
        redriven_from=session.redriven_from or UNSET,
    )


def timeline(history: History) -> list[dict[str, Any]]:
    """The events as they are shown: without what every one of a session has in common."""
    shown = []
    for entry, event in history:
        fields = msgspec.to_builtins(event)
        for common in ("v", "session_id"):
            del fields[common]
        shown.append({"type": fields.pop("type"), "at": moment(entry), **fields})
    return shown
