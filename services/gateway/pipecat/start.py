"""Starting a session as Pipecat's own runner and Pipecat Cloud have it, for their client SDKs."""

import time
from typing import Annotated, Any, TypeAlias
from uuid import uuid4

import msgspec
from litestar import get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter
from msgspec import UNSET, Meta, UnsetType

from services.gateway.access.auth import OPEN, START
from services.gateway.documentation import BODY, documented
from services.gateway.error_answers import invalid_field
from services.gateway.errors import (
    AtCapacity,
    Away,
    DailyFailed,
    HttpError,
    Invalid,
    NotFound,
    NotSupported,
    RateLimited,
    StillLeaving,
)
from services.gateway.join import EXAMPLE, JoinRequest, accept, launch_of
from services.gateway.parts import Injected, Parts
from shared.ice import IceServer

TRANSPORTS = ("webrtc", "daily")


class StartRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Pipecat's to define, so that fields which a newer client sends are let pass."""

    transport: str | None = None
    body: Any = None
    create_daily_room: bool = False
    daily_room_properties: Annotated[
        dict[str, Any] | None, Meta(description="Daily's own, for the room that is created.")
    ] = None
    daily_meeting_token_properties: Annotated[
        dict[str, Any] | None, Meta(description="Daily's own, for the client's token.")
    ] = None
    enable_default_ice_servers: bool = False


class IceConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the client's peer connection may use."""

    ice_servers: list[IceServer]


class StartReply(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The session; the client connects to it at `/sessions/{sessionId}/api/offer`, or in its Daily room."""

    session_id: str
    daily_room: str | UnsetType = UNSET
    daily_token: str | UnsetType = UNSET
    """The client's; the bot has one of its own."""
    ice_config: IceConfig | UnsetType = UNSET


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions can be started."""

    status: str = "ready"
    transports: tuple[str, ...] = TRANSPORTS


_EXAMPLES = [
    Example(summary="WebRTC", value={"transport": "webrtc", "body": {"language": "en"}}),
    Example(
        summary="A new Daily room", value={"createDailyRoom": True, "dailyRoomProperties": {"geo": "eu-central-1"}}
    ),
    Example(
        summary="A Daily room", value={"transport": "daily", "body": {"room_url": "https://example.daily.co/room"}}
    ),
]


Wish: TypeAlias = Annotated[StartRequest | None, Body(title="StartRequest", examples=_EXAMPLES)]
"""Clients that want nothing in particular send no body."""

NO_AGENT = NotFound("There is no agent of this name, but sales, support.")
_NO_NEW_ROOM = "createDailyRoom: DAILY_API_KEY is not set here; name a room as body.room_url."
_DOCUMENTED = documented(
    {200: StartReply(session_id=EXAMPLE.session_id)},
    Invalid("body.room_url", "must be given for transport daily"),
    *BODY,
    StillLeaving(),
    AtCapacity(1000),
    RateLimited(),
    NotSupported(_NO_NEW_ROOM),
    NO_AGENT,
    DailyFailed("authentication-error"),
    Away(),
    access=START,
    body_required=False,
)


@post("/start", status_code=200, tags=["pipecat"], **_DOCUMENTED)
async def start(
    parts: Injected,
    data: Wish = None,
    agent: Annotated[str | None, QueryParameter(description="Which of the fleet's bots.")] = None,
    session: Annotated[
        str | None, QueryParameter(description="A session that waits for its client, not a new one.")
    ] = None,
) -> StartReply:
    """Start a session as with Pipecat's development runner."""
    if session:
        return _reply(parts, data or StartRequest(), (await parts.session(session)).session_id)
    return await _start(parts, data or StartRequest(), agent)


@post("/v1/public/{agent:str}/start", status_code=200, tags=["pipecat"], **_DOCUMENTED)
async def start_agent(agent: FromPath[str], parts: Injected, data: Wish = None) -> StartReply:
    """Start a session as with Pipecat Cloud. In a fleet with one bot any agent's name means it."""
    return await _start(parts, data or StartRequest(), agent_in_path(parts, agent))


def agent_in_path(parts: Parts, agent: str) -> str | None:
    """The agent that a path means; None in a fleet with one bot, where any name does.

    Raises:
        NotFound: the fleet has others.
    """
    if not any(parts.settings.agents):
        return None
    if agent not in parts.settings.agents:
        raise NotFound(f"There is no agent of this name, but {', '.join(filter(None, parts.settings.agents))}.")
    return agent


@get("/status", sync_to_thread=False, tags=["pipecat"], **documented({200: Readiness()}, access=OPEN))
def status() -> Readiness:
    """Say what can be started: Pipecat's client asks this first."""
    return Readiness()


async def _start(parts: Parts, data: StartRequest, agent: str | None) -> StartReply:
    if data.create_daily_room and data.transport in {None, "daily"}:
        return await _start_in_new_room(parts, data, agent)
    wish = msgspec.structs.replace(join_request(data), agent=agent)
    launch = launch_of(wish, parts.settings, str(uuid4()))
    reply = await accept(parts, launch)
    return _reply(parts, data, reply.session_id)


def _reply(parts: Parts, data: StartRequest, session_id: str) -> StartReply:
    asked = data.enable_default_ice_servers
    servers = parts.settings.ice_servers_of(session_id, time.time()) if asked else []
    ice = IceConfig(ice_servers=servers) if servers else UNSET
    return StartReply(session_id=session_id, ice_config=ice)


async def _start_in_new_room(parts: Parts, data: StartRequest, agent: str | None) -> StartReply:
    """Make the room, then the session. What is left of a start that failed is removed now or later.

    Raises:
        AtCapacity: the queue is full; as a rule that is known before there is a room.
        NotSupported, Invalid, RateLimited, DailyFailed: there is no room.
        Unavailable: Redis does not answer.
    """
    if parts.daily is None:
        raise NotSupported(_NO_NEW_ROOM)
    launch = launch_of(JoinRequest(transport="none", body=data.body, agent=agent), parts.settings, str(uuid4()))
    if (waiting := await parts.launches.depth(agents=[launch.agent])) >= parts.settings.queue_limit:
        raise AtCapacity(waiting)
    room = await parts.daily.rooms.make(
        launch, data.daily_room_properties or {}, data.daily_meeting_token_properties or {}
    )
    try:
        await accept(parts, msgspec.structs.replace(launch, transport="daily", room_url=room.url, owner=True))
    except HttpError:
        await parts.daily.rooms.remove(room.note, room.name)
        raise
    return StartReply(session_id=launch.session_id, daily_room=room.url, daily_token=room.token)


def join_request(data: StartRequest) -> JoinRequest:
    """The same wish in our own words.

    Raises:
        Invalid: it is for another transport, or `body` lacks what Daily needs.
    """
    body = data.body if isinstance(data.body, dict) else {}
    transport = data.transport or ("daily" if "room_url" in body else "webrtc")
    if transport not in TRANSPORTS:
        raise Invalid("transport", f"must be one of {', '.join(TRANSPORTS)}")
    if transport == "webrtc":
        return JoinRequest(transport="webrtc", body=data.body)
    if not body.get("room_url"):
        raise Invalid("body.room_url", "must be given for transport daily")
    room = {"room_url": body["room_url"], "token": body.get("token")}
    try:
        return msgspec.convert({"transport": "daily", "body": data.body, **room}, JoinRequest)
    except msgspec.ValidationError as error:
        raise invalid_field(error) from None
