"""`GET /dead`, `POST /dead/{id}/redrive` and `DELETE /dead/{id}`: launches that were given up."""

from typing import Annotated
from uuid import uuid4

import msgspec
import structlog
from litestar import Response, delete, get, post
from litestar.params import FromPath, QueryParameter

from services.gateway.documentation import BAD_LIMIT, documented
from services.gateway.errors import AtCapacity, Away, NotFound, Refused
from services.gateway.join import EXAMPLE, JoinReply
from services.gateway.parts import Injected, Parts
from shared.contract import DeadLetter, Failure, Launch, Reason, Status, Transport
from shared.errors import BadEntry
from shared.redis.entries import moment

NO_LETTER = "There is no such dead letter."

_log = structlog.get_logger()


class DeadLetterView(msgspec.Struct, frozen=True, kw_only=True):
    """A launch that was given up, without what is for the bot alone."""

    id: str
    at: str
    """When it was given up: RFC 3339 in UTC, with milliseconds."""
    unreadable: bool = False
    """It is not known what it asked for; it can only be deleted."""
    session_id: str | None = None
    room_url: str | None = None
    transport: Transport | None = None
    attempts: int = 0
    """How many bots it has used up, those of stopped runners included."""
    reason: Reason | None = None
    """Why the last attempt came to nothing."""
    message: str = ""
    failures: tuple[Failure, ...] = ()
    """Why each attempt came to nothing, in order."""
    labels: dict[str, str] = {}
    agent: str = ""


class DeadLetterList(msgspec.Struct, frozen=True, kw_only=True):
    """Dead letters, newest first."""

    dead: list[DeadLetterView]


Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="How many dead letters at most.")]


_FAILURE = Failure(attempt=1, reason=Reason.BOT_ERROR, message="ValueError: no")
_LETTER = DeadLetterView(
    id="1769860800000-0",
    at="2026-01-31T12:00:00.000Z",
    session_id=EXAMPLE.session_id,
    room_url=EXAMPLE.room_url,
    transport=EXAMPLE.transport,
    attempts=1,
    reason=_FAILURE.reason,
    message=_FAILURE.message,
    failures=(_FAILURE,),
)


@get(
    "/dead",
    tags=["dead letters"],
    **documented({200: DeadLetterList(dead=[_LETTER])}, BAD_LIMIT, Away()),
)
async def dead_letters(parts: Injected, limit: Limit = 100) -> DeadLetterList:
    """List the launches that were given up."""
    return DeadLetterList(dead=[view(entry, letter) for entry, letter in await parts.dead_letters.newest(limit)])


@post(
    "/dead/{letter_id:str}/redrive",
    status_code=202,
    tags=["dead letters"],
    **documented(
        {202: EXAMPLE},
        NotFound(NO_LETTER),
        Refused(f"The room has a live session: {EXAMPLE.session_id}"),
        AtCapacity(1000),
        Away(),
        headers=["Location"],
    ),
)
async def redrive(letter_id: FromPath[str], parts: Injected) -> Response[JoinReply]:
    """Redrive a dead letter: a new session takes its place, and names the old one in `redriven_from`."""
    letter = await parts.dead_letters.read(letter_id)
    if letter is None:
        raise NotFound(NO_LETTER)
    launch = _again(letter, parts)
    offered = await parts.dead_letters.redrive(letter_id, launch, queue_limit=parts.settings.queue_limit)
    match offered.outcome:
        case "gone":
            raise NotFound(NO_LETTER)
        case "reused":
            raise Refused(f"The room has a live session: {offered.session_id}")
        case "full":
            raise AtCapacity(offered.depth)
    _log.info("dead_letter_redriven", session_id=launch.session_id, redriven_from=launch.redriven_from)
    reply = JoinReply(
        session_id=launch.session_id,
        room_url=launch.room_url,
        transport=launch.transport,
        status=Status.QUEUED,
        reused=False,
        queue_depth=offered.depth,
    )
    return Response(reply, status_code=202, headers={"Location": f"/sessions/{launch.session_id}"})


def _again(letter: DeadLetter, parts: Parts) -> Launch:
    """The letter's launch as a session of its own.

    Raises:
        Refused: it cannot be one.
    """
    if letter.launch is None:
        raise Refused("This dead letter cannot be read, so it can only be deleted.")
    if letter.launch.agent not in parts.settings.agents:
        raise Refused(f"Its agent {letter.launch.agent!r} is none of this fleet's.")
    if letter.launch.owner:
        raise Refused("The room was made for this session and has gone with it: start another one.")
    try:
        return parts.dead_letters.again(letter.launch, str(uuid4()))
    except BadEntry as error:
        raise Refused(f"This dead letter is {error}.") from None


@delete(
    "/dead/{letter_id:str}",
    status_code=204,
    tags=["dead letters"],
    **documented({204: None}, NotFound(NO_LETTER), Away()),
)
async def delete_dead_letter(letter_id: FromPath[str], parts: Injected) -> None:
    """Forget a dead letter."""
    if not await parts.dead_letters.delete(letter_id):
        raise NotFound(NO_LETTER)
    _log.info("dead_letter_deleted", letter=letter_id)


def view(letter_id: str, letter: DeadLetter) -> DeadLetterView:
    """A dead letter as it is shown."""
    launch = letter.launch
    if launch is None:
        return DeadLetterView(id=letter_id, at=moment(letter_id), unreadable=True)
    last = launch.failures[-1] if launch.failures else None
    return DeadLetterView(
        id=letter_id,
        at=moment(letter_id),
        session_id=launch.session_id,
        room_url=launch.room_url,
        transport=launch.transport,
        attempts=launch.attempt,
        reason=last.reason if last else None,
        message=last.message if last else "",
        failures=launch.failures,
        labels=launch.labels,
        agent=launch.agent,
    )
