"""What a session is: the fold of its history."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shared import events
from shared.contract import (
    AnyEvent,
    ColdStart,
    Ended,
    Failed,
    Queued,
    Reason,
    Running,
    Start,
    Starting,
    Status,
    Transport,
)
from shared.entries import moment
from shared.events import History
from shared.launches import EntryId
from shared.redis_connection import Redis


@dataclass(frozen=True)
class Session:
    """A session as its history has it. `reason` and `message` are those of its end, or of its last failed attempt."""

    session_id: str
    room_url: str
    transport: Transport
    created_at: str
    launch: EntryId
    """The launch of its current attempt."""
    status: Status = Status.QUEUED
    attempt: int = 1
    reason: Reason | None = None
    message: str = ""
    start: Start | None = None
    runner: str | None = None
    ended_at: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    redriven_from: str | None = None


def fold(history: History) -> Session | None:
    """The session of a history, or None when the history does not begin with one."""
    session: Session | None = None
    for entry, event in history:
        if session is not None:
            session = _after(session, entry, event)
        elif isinstance(event, Queued):
            session = _queued(event, entry, created_at=moment(entry))
    return session


def _after(session: Session, entry: str, event: AnyEvent) -> Session:
    match event:
        case Queued():
            return _queued(event, entry, created_at=session.created_at)
        case ColdStart(error=error) if error and session.status is Status.QUEUED:
            return replace(session, message=error)
        case Starting(runner=runner, start=start):
            return replace(
                session,
                status=Status.STARTING,
                runner=runner,
                start=start,
                attempt=event.attempt,
                reason=None,
                message="",
            )
        case Running():
            return replace(session, status=Status.RUNNING)
        case Ended() | Failed():
            message = event.message if isinstance(event, Failed) else ""
            status = Status.FAILED if isinstance(event, Failed) else Status.ENDED
            return replace(session, status=status, reason=event.reason, message=message, ended_at=moment(entry))
        case _:
            # A late cold start, or a bot that was told to leave: they are part of the timeline alone.
            return session


def _queued(event: Queued, entry: str, *, created_at: str) -> Session:
    return Session(
        session_id=event.session_id,
        room_url=event.room_url,
        transport=event.transport,
        created_at=created_at,
        launch=EntryId(entry),
        attempt=event.attempt,
        reason=event.reason,
        message=event.message,
        labels=event.labels,
        redriven_from=event.redriven_from,
    )


async def read(redis: Redis, session_id: str) -> Session | None:
    """A session as it is now; None when there is none of this id, or it was over a day ago.

    Raises:
        Unavailable: Redis does not answer.
    """
    return fold(await events.history(redis, session_id))


async def read_all(redis: Redis, session_ids: Sequence[str]) -> list[Session]:
    """Those of the sessions that are not over, in one round trip and the same order.

    Raises:
        Unavailable: Redis does not answer.
    """
    found = map(fold, await events.histories(redis, session_ids))
    return [session for session in found if session and not session.status.over]
