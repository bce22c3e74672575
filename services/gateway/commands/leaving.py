"""`POST /leave` and `DELETE /sessions/{id}`: the bot leaves its room."""

from typing import Annotated
from uuid import uuid4

import msgspec
import structlog
from litestar import delete, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath

from services.gateway.commands import asking
from services.gateway.documentation import BODY, documented
from services.gateway.errors import Away, Invalid, NotFound
from services.gateway.join import EXAMPLE, Url
from services.gateway.parts import NO_ROOM, NO_SESSION, ONE_OF_BOTH, Injected, Parts
from services.gateway.sessions import Session
from shared.contract import Ended, Leave, Reason, Status
from shared.errors import BadEntry
from shared.launches import EntryId

_log = structlog.get_logger()


class LeaveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which session: by its id or its room."""

    session_id: str | None = None
    room_url: Url | None = None


class LeaveReply(msgspec.Struct, frozen=True, kw_only=True):
    """The session as it was told to end: `ended` already where no bot had started."""

    session_id: str
    room_url: str
    status: Status


_EXAMPLES = [Example(value={"room_url": EXAMPLE.room_url})]
_LEAVING = LeaveReply(session_id=EXAMPLE.session_id, room_url=EXAMPLE.room_url, status=Status.RUNNING)


@post(
    "/leave",
    status_code=202,
    tags=["sessions"],
    **documented({202: _LEAVING}, Invalid("session_id", ONE_OF_BOTH), *BODY, NotFound(NO_ROOM), Away()),
)
async def leave(
    data: Annotated[LeaveRequest, Body(title="LeaveRequest", examples=_EXAMPLES)], parts: Injected
) -> LeaveReply:
    """Make the bot of a session or a room leave."""
    return await dismiss(parts, await parts.session_of(data.session_id, data.room_url))


@delete(
    "/sessions/{session_id:str}",
    status_code=202,
    tags=["sessions"],
    **documented({202: _LEAVING}, NotFound(NO_SESSION), Away()),
)
async def delete_session(session_id: FromPath[str], parts: Injected) -> LeaveReply:
    """Make the bot of a session leave."""
    return await dismiss(parts, await parts.session(session_id))


async def dismiss(parts: Parts, session: Session) -> LeaveReply:
    """End a session: withdraw its launch while nobody has it, otherwise tell its bot to leave.

    Raises:
        NotFound: it is over already.
        Unavailable: Redis does not answer.
    """
    withdrawn = await withdraw(parts, session)
    if not withdrawn:
        await asking.tell(parts, session, Leave(command_id=uuid4().hex))
    status = Status.ENDED if withdrawn else session.status
    return LeaveReply(session_id=session.session_id, room_url=session.room_url, status=status)


async def withdraw(parts: Parts, session: Session) -> bool:
    """Take the session's launch out of the queue. False, and nothing done: a runner has it.

    Raises:
        NotFound: the session is over, or its launch is lost.
        Unavailable: Redis does not answer.
    """
    seen: EntryId | None = None
    while session.launch != seen:
        seen = session.launch
        try:
            launch = await parts.launches.read(session.launch, agent=session.agent)
        except BadEntry:
            return False
        if launch is not None:
            ended = Ended(session_id=launch.session_id, attempt=launch.attempt, reason=Reason.LEFT)
            outcome = await parts.launches.finish(session.launch, "", launch, ended)
            if outcome == "finished":
                _log.info("session_withdrawn", session_id=session.session_id)
            if outcome != "gone":
                return outcome == "finished"
        # The attempt is over: either the session is as well, or another launch has taken its place.
        session = await parts.session(session.session_id)
    raise NotFound("The session has no launch any more: nobody can serve it, and nothing is left to end.")
