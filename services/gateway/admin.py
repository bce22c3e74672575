"""`POST /admin`: a command to one bot."""

from typing import Annotated, Any, Literal, TypeAlias
from uuid import uuid4

import msgspec
from litestar import Response, post
from litestar.openapi.spec import Example
from litestar.params import Body
from msgspec import UNSET, Meta, UnsetType

from services.gateway import asking, leaving
from services.gateway.documentation import BODY, documented
from services.gateway.errors import Away, Invalid, NotFound
from services.gateway.join import EXAMPLE, Url
from services.gateway.parts import NO_SESSION, ONE_OF_BOTH, Injected
from shared.contract import Leave, Message, Outcome, Reply, Say

Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100_000)]
Name: TypeAlias = Annotated[str, Meta(max_length=256)]


class AdminRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command to the bot of a session or a room."""

    session_id: str | None = None
    room_url: Url | None = None
    type: Annotated[
        Literal["say", "message", "leave"],
        Meta(description="say: speak the text; message: put it into the model's context; leave: leave the room."),
    ] = "message"
    text: Annotated[Text | None, Meta(description="The text of say and message.")] = None
    message: Annotated[Text | None, Meta(description="Another name for text.")] = None
    mode: Annotated[Literal["queued", "immediate"], Meta(description="For message: immediate interrupts the bot.")] = (
        "queued"
    )
    sender_id: Name = "system"
    sender_name: Name = "System"
    timestamp: Annotated[Any, Meta(description="Accepted for older callers; it has no effect.")] = None
    wait: Annotated[
        Annotated[float, Meta(ge=0, le=60)], Meta(description="Seconds to wait for what becomes of the command.")
    ] = 0.0


class AdminReply(msgspec.Struct, frozen=True, kw_only=True):
    """The command is accepted; with `outcome` when its result is known."""

    status: Literal["ok"] = "ok"
    id: str
    session_id: str
    room_url: str
    outcome: Outcome | UnsetType = UNSET
    message: str | UnsetType = UNSET


_EXAMPLES = [
    Example(summary="Speak", value={"room_url": "https://example.daily.co/room", "type": "say", "text": "Hello."}),
    Example(
        summary="Into the context, at once",
        value={"room_url": "https://example.daily.co/room", "message": "The user has paid.", "mode": "immediate"},
    ),
]


_ACCEPTED = AdminReply(id="0f4e", session_id=EXAMPLE.session_id, room_url=EXAMPLE.room_url)


@post(
    "/admin",
    status_code=202,
    tags=["commands"],
    **documented(
        {202: _ACCEPTED, 200: msgspec.structs.replace(_ACCEPTED, outcome=Outcome.DELIVERED, message="")},
        Invalid("session_id", f"{ONE_OF_BOTH}, and message for type message"),
        *BODY,
        NotFound(NO_SESSION),
        Away(),
    ),
)
async def admin(
    data: Annotated[AdminRequest, Body(title="AdminRequest", examples=_EXAMPLES)], parts: Injected
) -> Response[AdminReply]:
    """Send a command to a bot: 202 when it is accepted, 200 when `wait` was long enough for its result."""
    command_id = uuid4().hex
    command = command_of(data, command_id, parts.replies.gateway_id if data.wait else None)
    session = await parts.session_of(data.session_id, data.room_url)
    accepted = AdminReply(id=command_id, session_id=session.session_id, room_url=session.room_url)
    reply: Reply | None = None
    if isinstance(command, Leave) and await leaving.withdraw(parts, session):
        reply = Reply(command_id=command_id, outcome=Outcome.DELIVERED, message="Withdrawn before a bot had started.")
    elif data.wait:
        reply = await asking.ask(parts, session, command, data.wait)
    else:
        await asking.tell(parts, session, command)
    if reply is None or not data.wait:
        return Response(accepted, status_code=202)
    result = msgspec.structs.replace(accepted, outcome=reply.outcome, message=reply.message)
    return Response(result, status_code=200)


def command_of(data: AdminRequest, command_id: str, reply_to: str | None) -> Say | Message | Leave:
    """The command that a request asks for.

    Raises:
        Invalid: its addressee or its text is missing, or given twice.
    """
    text = data.text or data.message or ""
    lacks = "" if text or data.type == "leave" else "text" if data.type == "say" else "message"
    if (data.session_id is None) == (data.room_url is None):
        raise Invalid("session_id", ONE_OF_BOTH + (f", and {lacks} for type {data.type}" if lacks else ""))
    if lacks:
        raise Invalid(lacks, f"must be given for type {data.type}")
    if data.type == "leave":
        return Leave(command_id=command_id, reply_to=reply_to)
    if data.text is not None and data.message is not None:
        raise Invalid("message", "must not be given together with text, which it is another name for")
    if data.type == "say":
        return Say(command_id=command_id, reply_to=reply_to, text=text)
    return Message(
        command_id=command_id,
        reply_to=reply_to,
        text=text,
        mode=data.mode,
        sender_id=data.sender_id,
        sender_name=data.sender_name,
    )
