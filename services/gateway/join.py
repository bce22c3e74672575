"""`POST /join`: a bot into a room."""

import asyncio
from contextlib import suppress
from typing import Annotated, Any, TypeAlias
from uuid import uuid4

import msgspec
import structlog
from litestar import Response, post
from litestar.openapi.spec import Example
from litestar.params import Body, QueryParameter
from msgspec import UNSET, Meta

from services.gateway import metrics, sessions
from services.gateway.access.auth import START
from services.gateway.commands import asking
from services.gateway.documentation import BODY, SESSION_ID, documented
from services.gateway.errors import AtCapacity, Away, Invalid, StillLeaving
from services.gateway.parts import Injected, Parts
from services.gateway.sessions import Session
from services.gateway.settings import GatewaySettings
from shared import persona, rooms
from shared.agents import DEFAULT
from shared.contract import Launch, Reason, Status, Transport
from shared.errors import Unavailable
from shared.launches import Offered
from shared.settings import Duration

DEEPEST = 64
"""How deeply what is for the bot may be nested: well below what any JSON reader on its way gives up at."""
LONGEST_DEADLINE_S = 24 * 3600.0
LEAVING_WAIT_S = 15.0
"""How long a room whose bot is about to leave is waited for: longer than runners, by default, let a bot take."""

_log = structlog.get_logger()

Url: TypeAlias = Annotated[str, Meta(min_length=1, max_length=rooms.MAX_LENGTH)]
Token: TypeAlias = Annotated[str, Meta(max_length=8192)]
Labels: TypeAlias = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], Annotated[str, Meta(max_length=256)]],
    Meta(max_length=32),
]
Wait: TypeAlias = Annotated[
    float, QueryParameter(ge=0, le=60, description="Answer when the bot is in its room, or after this many seconds.")
]


Original: TypeAlias = Annotated[Any, Meta(description="Passed to the bot inside `body` under this name.")]
"""A field of the service that this one re-does."""


class OwnFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a session can be asked for."""

    room_url: Annotated[
        Url | None,
        Meta(description="The room; needed for daily, otherwise the session can be a room of its own."),
    ] = None
    token: Annotated[Token | None, Meta(description="The bot's token for the room.")] = None
    body: Annotated[Any, Meta(description="Any JSON, for the bot.")] = None
    transport: Transport = "daily"
    deadline_s: Annotated[
        Annotated[Duration, Meta(le=LONGEST_DEADLINE_S)] | None,
        Meta(description="How long the session may wait for a runner before it fails."),
    ] = None
    max_duration_s: Annotated[
        Duration | None, Meta(description="How long the session may last; at most MAX_DURATION.")
    ] = None
    labels: Annotated[Labels, Meta(description="For you; they come back with the session.")] = {}
    agent: Annotated[str | None, Meta(description="Which of the fleet's bots, by its name in BOTS.")] = None


class JoinRequest(OwnFields, frozen=True, kw_only=True, rename="camel"):
    """A bot wanted in a room."""

    personality_id: Original = UNSET
    persona: Original = UNSET
    tenant_id: Original = UNSET
    voice: Original = UNSET
    voice_provider: Original = UNSET
    voice_parameters: Original = UNSET
    voice_only: Original = UNSET
    session_persistence: Original = UNSET
    participant_id: Original = UNSET
    session_user_id: Original = UNSET
    session_user_email: Original = UNSET
    session_user_name: Original = UNSET
    session_id: Original = UNSET
    is_onboarding: Original = UNSET
    session_override: Original = UNSET
    supported_features: Original = UNSET
    mode_personality_voice_config: Original = UNSET
    debug_trace_id: Original = UNSET


ORIGINAL = msgspec.structs.fields(JoinRequest)[len(msgspec.structs.fields(OwnFields)) :]


class JoinReply(msgspec.Struct, frozen=True, kw_only=True):
    """The room's session, and where it stands."""

    session_id: str
    room_url: str
    transport: Transport
    status: Status
    reused: bool
    queue_depth: int
    """How many sessions wait for a runner, this one included; 0 for a reused one."""
    reason: Reason | None = None
    message: str = ""
    """Why it is over, where it came to its end while the caller waited."""


EXAMPLE = JoinReply(
    session_id=SESSION_ID,
    room_url="https://example.daily.co/room",
    transport="daily",
    status=Status.QUEUED,
    reused=False,
    queue_depth=1,
)

_EXAMPLES = [
    Example(summary="A Daily room", value={"room_url": "https://example.daily.co/room", "token": "…"}),
    Example(summary="WebRTC without an account", value={"transport": "webrtc", "body": {"language": "en"}}),
]


@post(
    "/join",
    status_code=202,
    tags=["sessions"],
    **documented(
        {202: EXAMPLE, 200: msgspec.structs.replace(EXAMPLE, status=Status.RUNNING, reused=True, queue_depth=0)},
        Invalid("room_url", "must be given for transport daily"),
        *BODY,
        StillLeaving(),
        AtCapacity(1000),
        Away(),
        access=START,
        headers=["Location"],
    ),
)
async def join(
    data: Annotated[JoinRequest, Body(title="JoinRequest", examples=_EXAMPLES)], parts: Injected, wait: Wait = 0.0
) -> Response[JoinReply]:
    """Put a bot into a room: 202 for a new session, 200 when the room has one already."""
    reply = await accept(parts, launch_of(data, parts.settings, str(uuid4())))
    if wait:
        reply = await settled(parts, reply, wait)
    return Response(
        reply,
        status_code=200 if reply.reused else 202,
        headers={"Location": f"/sessions/{reply.session_id}"},
    )


def launch_of(data: JoinRequest, settings: GatewaySettings, session_id: str) -> Launch:
    """The launch that a request asks for.

    Raises:
        Invalid: it asks for something that cannot be.
    """
    if data.max_duration_s is not None and data.max_duration_s > settings.max_duration_s:
        raise Invalid("max_duration_s", f"must be at most {settings.max_duration_s:g}")
    return Launch(
        session_id=session_id,
        room_url=_room(data, settings, session_id),
        transport=data.transport,
        deadline_s=data.deadline_s or settings.launch_deadline_s,
        max_duration_s=data.max_duration_s or settings.max_duration_s,
        token=data.token,
        body=bot_body(data),
        labels=data.labels,
        agent=_agent(data, settings),
    )


def _agent(data: JoinRequest, settings: GatewaySettings) -> str:
    agent = data.agent or DEFAULT
    if agent not in settings.agents:
        named = ", ".join(filter(None, settings.agents))
        raise Invalid("agent", f"must be one of {named}" if named else "must not be given, for this fleet has one bot")
    return agent


def _room(data: JoinRequest, settings: GatewaySettings, session_id: str) -> str:
    try:
        if data.transport == "daily":
            if data.room_url is None:
                raise Invalid("room_url", "must be given for transport daily")
            return rooms.daily(data.room_url, settings.room_hosts)
        return rooms.canonical(data.room_url or f"{data.transport}://{session_id}")
    except rooms.BadRoom as error:
        raise Invalid("room_url", str(error)) from None


def bot_body(data: JoinRequest) -> Any:
    """What the bot gets as its `body`: the request's, with the original's fields in it; the body's own win.

    Raises:
        Invalid: there are such fields and the body is not an object, or one of them is not what it should be; or the
            body is nested too deeply.
    """
    gathered = {field.encode_name: value for field in ORIGINAL if (value := getattr(data, field.name)) is not UNSET}
    body = data.body
    if gathered and body is not None and not isinstance(body, dict):
        raise Invalid("body", f"must be an object when {next(iter(gathered))} is given")
    if gathered:
        body = {**gathered, **(body or {})}
        _check_original(body)
    check_depth("body", body)
    return body


def _check_original(body: dict[str, Any]) -> None:
    try:
        persona.read(persona.OriginalFields, body)
    except persona.BadField as error:
        raise Invalid(error.field, error.complaint) from None


def check_depth(field: str, value: Any) -> None:
    """Refuse what is nested so deeply that somebody on its way to the bot could not read it.

    Raises:
        Invalid: it is.
    """
    if _deeper_than(value, DEEPEST):
        raise Invalid(field, f"must not be nested more than {DEEPEST} deep")


def _deeper_than(value: Any, levels: int) -> bool:
    here = [value]
    for _ in range(levels + 1):
        containers = [item for item in here if isinstance(item, dict | list)]
        if not containers:
            return False
        here = [inner for outer in containers for inner in (outer.values() if isinstance(outer, dict) else outer)]
    return True


@metrics.counted
async def accept(parts: Parts, launch: Launch) -> JoinReply:
    """Accept the session; from here on it reaches its end whatever happens. Or give the room's live one.

    A room whose bot is about to leave is waited for.

    Raises:
        AtCapacity: too many sessions wait already.
        StillLeaving: it took too long.
        Unavailable: Redis does not answer.
    """
    until = asyncio.get_running_loop().time() + LEAVING_WAIT_S
    while True:
        offered = await parts.launches.offer(launch, queue_limit=parts.settings.queue_limit)
        if offered.outcome == "full":
            raise AtCapacity(offered.depth)
        if offered.outcome != "reused":
            _log.info("session_accepted", session_id=offered.session_id, transport=launch.transport)
            return _reply(launch, offered)
        session = await _staying(parts, offered.session_id, until)
        if session is None or not session.status.over:
            _log.debug("session_reused", session_id=offered.session_id)
            return _reply(launch, offered, session)


def _reply(launch: Launch, offered: Offered, session: Session | None = None) -> JoinReply:
    return JoinReply(
        session_id=offered.session_id,
        room_url=launch.room_url,
        transport=session.transport if session else launch.transport,
        status=session.status if session else Status.QUEUED,
        reused=offered.outcome == "reused",
        queue_depth=offered.depth,
    )


async def _staying(parts: Parts, session_id: str, until: float) -> Session | None:
    """A room's session, once it is sure to stay or is over; None when nobody can read what it is."""
    with parts.feed.watching(session_id) as watch:
        while True:
            session = await sessions.read(parts.redis, session_id)
            if session is None or session.status.over:
                return session
            if not (session.leaving or await asking.told_to_leave(parts, session_id)):
                return session
            left = until - asyncio.get_running_loop().time()
            if left <= 0 or parts.feed.stopping:
                raise StillLeaving
            await watch.changed(left)


async def settled(parts: Parts, reply: JoinReply, wait_s: float) -> JoinReply:
    """The session once the bot is in its room or the session over, or when the time is up."""
    until = asyncio.get_running_loop().time() + wait_s
    with parts.feed.watching(reply.session_id) as watch:
        while True:
            # It is accepted also while Redis is away; the feed says when there is a server to ask again.
            with suppress(Unavailable):
                if session := await sessions.read(parts.redis, reply.session_id):
                    reply = _now(reply, session)
            left = until - asyncio.get_running_loop().time()
            if reply.status is Status.RUNNING or reply.status.over or left <= 0 or parts.feed.stopping:
                return reply
            await watch.changed(left)


def _now(reply: JoinReply, session: Session) -> JoinReply:
    why = {"reason": session.reason, "message": session.message} if session.status.over else {}
    return msgspec.structs.replace(reply, status=session.status, **why)
