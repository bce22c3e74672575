"""What a session is: the fold of its history."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared import events
from shared.contract import (
    AnyEvent,
    ColdStart,
    Ended,
    Failed,
    Leaving,
    Queued,
    Reason,
    Running,
    Start,
    Starting,
    Status,
    Transport,
)
from shared.events import History
from shared.launches import EntryId
from shared.redis.connection import Redis
from shared.redis.entries import moment

ENDING = {Reason.LEFT, Reason.MAX_DURATION, Reason.NO_CLIENT}
"""Reasons to have a bot leave that end its session: after any other one the next attempt may follow."""


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
    leaving: bool = False
    """Its bot has been told to leave, and the session ends with that."""
    attempt: int = 1
    reason: Reason | None = None
    message: str = ""
    start: Start | None = None
    runner: str | None = None
    ended_at: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    redriven_from: str | None = None
    agent: str = ""


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
    changes: dict[str, Any] = {}
    match event:
        case Queued():
            return _queued(event, entry, created_at=session.created_at)
        case Ended() | Failed():
            return _over(session, entry, event)
        case ColdStart(error=error) if error and session.status is Status.QUEUED:
            changes = {"message": error}
        case Starting(attempt=attempt, runner=runner, start=start):
            changes = {"status": Status.STARTING, "attempt": attempt, "runner": runner, "start": start}
            changes |= {"reason": None, "message": ""}
        case Running():
            changes = {"status": Status.RUNNING}
        case Leaving(attempt=session.attempt, reason=reason):
            changes = {"leaving": reason in ENDING}
        case _:
            # A late cold start, or a bot of an earlier attempt: they are part of the timeline alone.
            pass
    return replace(session, **changes)


def _over(session: Session, entry: str, event: Ended | Failed) -> Session:
    message = event.message if isinstance(event, Failed) else ""
    status = Status.FAILED if isinstance(event, Failed) else Status.ENDED
    return replace(session, status=status, leaving=False, reason=event.reason, message=message, ended_at=moment(entry))


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
        agent=event.agent,
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
