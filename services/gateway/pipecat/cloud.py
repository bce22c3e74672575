"""`GET /v1/agents/{agent}/sessions` and `DELETE /v1/agents/{agent}/sessions/{id}`, as Pipecat Cloud has them.

Live sessions are all there. Of those that are over, the list has what the fleet still knows: a day of them, and no more
than the feed holds. Reading them is work for Redis that grows with the feed, so it is for people and not for polling.
"""

from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from litestar import delete, get
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, UnsetType

from services.gateway import sessions
from services.gateway.commands.leaving import dismiss
from services.gateway.documentation import BAD_LIMIT, SESSION_ID, documented
from services.gateway.errors import Away, NotFound
from services.gateway.parts import NO_SESSION, Injected, Parts
from services.gateway.pipecat.start import NO_AGENT, agent_in_path
from shared import events, launches
from shared.contract import EVENTS, SESSION_KEPT_S, Ended, Failed, Queued, Running
from shared.errors import BadEntry
from shared.events import History
from shared.redis.connection import Redis, translated
from shared.redis.entries import milliseconds

PAGE = 1000
"""How many entries of the feed are read at once."""
LIVE_AT_MOST = 100_000


class SessionEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session as Pipecat Cloud shows it. What has not happened yet is left out."""

    session_id: str
    created_at: str
    ended_at: str | UnsetType = UNSET
    bot_start_seconds: float | UnsetType = UNSET
    """From the accepted request to the bot in its room."""
    cold_start: bool | UnsetType = UNSET
    completion_status: str | UnsetType = UNSET
    """Why it is over: this fleet's own reasons."""


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of the sessions: those that live, newest first, then those that are over, last end first."""

    total_count: int
    sessions: list[SessionEntry]


class Terminated(msgspec.Struct, frozen=True, kw_only=True):
    """The session was told to end."""

    status: Literal["terminated"] = "terminated"
    session_id: str


Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many sessions at most.")]
Offset = Annotated[int, QueryParameter(ge=0, description="How many sessions to skip.")]
Kind = Annotated[Literal["active", "ended", "all"], QueryParameter(description="Which sessions.")]

_EXAMPLE = SessionEntry(
    session_id=SESSION_ID,
    created_at="2026-01-31T12:00:00.000Z",
    ended_at="2026-01-31T12:05:00.000Z",
    bot_start_seconds=0.21,
    cold_start=False,
    completion_status="completed",
)


@get(
    "/v1/agents/{agent:str}/sessions",
    tags=["pipecat"],
    **documented(
        {200: SessionPage(total_count=1, sessions=[_EXAMPLE])},
        BAD_LIMIT,
        NO_AGENT,
        Away(),
    ),
)
async def agent_sessions(
    agent: FromPath[str],
    parts: Injected,
    limit: Limit = 10,
    offset: Offset = 0,
    status: Kind = "all",
) -> SessionPage:
    """List sessions as Pipecat Cloud does: those that live, and those that were over within a day."""
    wanted = agent_in_path(parts, agent)
    ids = [] if status == "ended" else await _live(parts, wanted)
    if status != "active":
        ids = list(dict.fromkeys([*ids, *await _over(parts.redis, wanted)]))
    histories = await events.histories(parts.redis, ids[offset : offset + limit])
    return SessionPage(total_count=len(ids), sessions=[shown for one in histories if (shown := entry(one))])


@delete(
    "/v1/agents/{agent:str}/sessions/{session_id:str}",
    status_code=200,
    tags=["pipecat"],
    **documented({200: Terminated(session_id=SESSION_ID)}, NotFound(NO_SESSION), Away()),
)
async def stop_agent_session(
    agent: FromPath[str],
    session_id: FromPath[str],
    parts: Injected,
) -> Terminated:
    """Make the bot of a session leave, as with Pipecat Cloud."""
    session = await parts.session(session_id)
    if agent_in_path(parts, agent) not in {None, session.agent}:
        raise NotFound(NO_SESSION)
    await dismiss(parts, session)
    return Terminated(session_id=session_id)


def entry(history: History) -> SessionEntry | None:
    """A session as it is shown; None where the history has gone meanwhile."""
    session = sessions.fold(history)
    if session is None:
        return None
    ran = next((at for at, event in history if isinstance(event, Running)), None)
    started_s = (milliseconds(ran) - milliseconds(history[0][0])) / 1000 if ran else UNSET
    return SessionEntry(
        session_id=session.session_id,
        created_at=session.created_at,
        ended_at=session.ended_at or UNSET,
        bot_start_seconds=started_s,
        cold_start=session.start == "cold" if session.start else UNSET,
        completion_status=session.reason.value if session.status.over and session.reason else UNSET,
    )


async def _live(parts: Parts, agent: str | None) -> list[str]:
    """The sessions that are not over, newest launch first."""
    found = []
    for _, fields in reversed(await parts.launches.live(LIVE_AT_MOST, agent=agent)):
        with suppress(BadEntry):
            found.append(launches.decode(fields).session_id)
    return found


async def _over(redis: Redis, agent: str | None) -> list[str]:
    """The sessions whose end the feed has and whose history is kept, last end first.

    Those of one agent are the ones whose beginning the feed has too, for that names it.
    """
    with translated():
        seconds, _ = await redis.time()
    oldest, last = (seconds - SESSION_KEPT_S) * 1000, "+"
    found: dict[str, str | None] = {}
    while True:
        with translated():
            page: Any = await redis.xrevrange(EVENTS, last, oldest, count=PAGE)
        for _, one in events.decode(page):
            if isinstance(one, Ended | Failed):
                found.setdefault(one.session_id, None)
            elif isinstance(one, Queued) and one.session_id in found:
                found[one.session_id] = one.agent
        if len(page) < PAGE:
            return [session_id for session_id, its in found.items() if agent in {None, its}]
        last = f"({page[-1][0]}"
