"""`POST /admin`: a command to one bot, or to all."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import uuid4

import msgspec
from litestar import Response, post
from litestar.openapi.spec import Example
from litestar.params import Body
from msgspec import UNSET, UnsetType

from services.gateway.commands import asking, leaving
from services.gateway.commands.admin_requests import ONE_OF_THREE, AdminRequest, check, command_of
from services.gateway.documentation import BODY, documented
from services.gateway.errors import Away, Invalid, NotFound, TooManyCommands
from services.gateway.join import EXAMPLE
from services.gateway.parts import NO_SESSION, Injected, Parts
from shared import launches
from shared.commands import Letter, Sent
from shared.contract import CommandReason, Ended, Leave, Outcome, Reason, Reply
from shared.errors import BadEntry, Unavailable
from shared.launches import Claim

WITHDRAW_AT_ONCE = 50
"""How many sessions that still wait are ended side by side."""
WITHDRAWN = "Withdrawn before a bot had started."


class AdminReply(msgspec.Struct, frozen=True, kw_only=True):
    """The command is accepted; with `outcome` when its result is known."""

    status: Literal["ok"] = "ok"
    id: str
    session_id: str
    room_url: str
    outcome: Outcome | UnsetType = UNSET
    reason: CommandReason | UnsetType | None = UNSET
    message: str | UnsetType = UNSET


class OneOfAll(msgspec.Struct, frozen=True, kw_only=True):
    """One session's command; when it was not accepted, `code` and `error` say why."""

    status: Literal["ok", "refused"] = "ok"
    id: str
    session_id: str
    room_url: str
    outcome: Outcome | UnsetType = UNSET
    reason: CommandReason | UnsetType | None = UNSET
    message: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    error: str | UnsetType = UNSET


class AdminReplies(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command to all."""

    commands: list[OneOfAll]


_EXAMPLES = [
    Example(summary="Speak", value={"room_url": "https://example.daily.co/room", "type": "say", "text": "Hello."}),
    Example(
        summary="Into the context, at once",
        value={"room_url": "https://example.daily.co/room", "message": "The user has paid.", "mode": "immediate"},
    ),
    Example(summary="Another voice", value={"session_id": "6f1c…", "type": "update", "tts": {"voice": "f3"}}),
    Example(
        summary="To all of a team, with its fate",
        value={"all": True, "labels": {"team": "a"}, "type": "custom", "data": {"offer": 7}, "wait": 5},
    ),
]
_ACCEPTED = AdminReply(id="0f4e", session_id=EXAMPLE.session_id, room_url=EXAMPLE.room_url)
_DELIVERED = msgspec.structs.replace(_ACCEPTED, outcome=Outcome.DELIVERED, reason=None, message="")
_EACH = OneOfAll(id="0f4e", session_id=EXAMPLE.session_id, room_url=EXAMPLE.room_url)


@post(
    "/admin",
    status_code=202,
    tags=["commands"],
    **documented(
        {202: _ACCEPTED, 200: _DELIVERED, 207: AdminReplies(commands=[_EACH])},
        Invalid("session_id", f"{ONE_OF_THREE}; and message for type message"),
        *BODY,
        NotFound(NO_SESSION),
        TooManyCommands(),
        Away(),
    ),
)
async def admin(
    data: Annotated[AdminRequest, Body(title="AdminRequest", examples=_EXAMPLES)], parts: Injected
) -> Response[AdminReply | AdminReplies]:
    """Send a command to a bot: 202 when it is accepted, 200 when `wait` was long enough for its result.

    To all bots: 207, and the same of each.
    """
    check(data)
    if data.all:
        return Response(await _to_all(parts, data), status_code=207)
    letter = await _letter(parts, data)
    command = letter.command
    accepted = AdminReply(id=command.command_id, session_id=letter.session_id, room_url=letter.room_url)
    reply: Reply | None = None
    if isinstance(command, Leave) and await leaving.withdraw(parts, await parts.session(letter.session_id)):
        reply = Reply(command_id=command.command_id, outcome=Outcome.DELIVERED, message=WITHDRAWN)
    elif data.wait:
        reply = await asking.ask(parts, letter, command, data.wait)
    else:
        await asking.tell(parts, letter, command)
    if reply is None or not data.wait:
        return Response(accepted, status_code=202)
    result = msgspec.structs.replace(accepted, outcome=reply.outcome, reason=reply.reason, message=reply.message)
    return Response(result, status_code=200)


async def _letter(parts: Parts, data: AdminRequest) -> Letter:
    session_id, room_url = await parts.addressee(data.session_id, data.room_url)
    return _to(parts, data, session_id, room_url)


def _to(parts: Parts, data: AdminRequest, session_id: str, room_url: str) -> Letter:
    reply_to = parts.replies.gateway_id if data.wait else None
    return Letter(session_id, room_url, command_of(data, uuid4().hex, reply_to))


async def _to_all(parts: Parts, data: AdminRequest) -> AdminReplies:
    """Nobody is left out without a word: of whom Redis did not say that it has the command, the answer says so."""
    found: dict[str, Claim] = {}
    async for entry, fields in parts.launches.each_live():
        try:
            launch = launches.decode(fields)
        except BadEntry:
            continue
        if (data.labels or {}).items() <= launch.labels.items():
            found[launch.session_id] = Claim(entry, launch)
    letters = {id_: _to(parts, data, id_, claim.launch.room_url) for id_, claim in found.items()}
    withdrawn = await _withdraw(parts, list(found.values())) if data.type == "leave" else set()
    left = [letter for id_, letter in letters.items() if id_ not in withdrawn]
    fates = dict(zip([letter.session_id for letter in left], await asking.ask_all(parts, left, data.wait), strict=True))
    commands = []
    for id_, letter in letters.items():
        gone = Reply(command_id=letter.command.command_id, outcome=Outcome.DELIVERED, message=WITHDRAWN)
        commands.append(_one(letter, *fates.get(id_, ("sent", gone if data.wait else None))))
    return AdminReplies(commands=commands)


async def _withdraw(parts: Parts, claims: Sequence[Claim]) -> set[str]:
    """End those of the sessions that no runner has yet; their ids."""
    places = asyncio.Semaphore(WITHDRAW_AT_ONCE)

    async def withdraw(claim: Claim) -> bool:
        launch = claim.launch
        ended = Ended(session_id=launch.session_id, attempt=launch.attempt, reason=Reason.LEFT)
        async with places:
            try:
                return await parts.launches.finish(claim.entry, "", launch, ended) == "finished"
            except Unavailable:
                return False  # the leave that follows says so, or arrives

    done = await asyncio.gather(*map(withdraw, claims))
    return {claim.launch.session_id for claim, withdrawn in zip(claims, done, strict=True) if withdrawn}


def _one(letter: Letter, sent: Sent | Literal["away"], reply: Reply | None) -> OneOfAll:
    one = OneOfAll(id=letter.command.command_id, session_id=letter.session_id, room_url=letter.room_url)
    if reply is not None:
        return msgspec.structs.replace(one, outcome=reply.outcome, reason=reply.reason, message=reply.message)
    match sent:
        case "over":
            error: NotFound | TooManyCommands | Away = NotFound("The session is over.")
        case "full":
            error = TooManyCommands()
        case "away":
            error = Away()
        case _:
            return one
    return msgspec.structs.replace(one, status="refused", code=error.code, error=str(error))
