"""Starting a session as Pipecat's own runner and Pipecat Cloud have it, for their client SDKs."""

import time
from typing import Annotated, Any
from uuid import uuid4

import msgspec
from litestar import get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath
from msgspec import UNSET, UnsetType

from services.gateway.auth import OPEN, START
from services.gateway.documentation import BODY, documented
from services.gateway.errors import AtCapacity, Away, Invalid, NotSupported, StillLeaving, invalid_field
from services.gateway.join import EXAMPLE, JoinRequest, accept, launch_of
from services.gateway.parts import Injected, Parts
from shared.ice import IceServer

TRANSPORTS = ("webrtc", "daily")


class StartRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Pipecat's to define, so that fields which a newer client sends are let pass."""

    transport: str | None = None
    body: Any = None
    create_daily_room: bool = False
    enable_default_ice_servers: bool = False


class IceConfig(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the client's peer connection may use."""

    ice_servers: list[IceServer]


class StartReply(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The session; the client connects to it at `/sessions/{sessionId}/api/offer`."""

    session_id: str
    ice_config: IceConfig | UnsetType = UNSET


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions can be started."""

    status: str = "ready"
    transports: tuple[str, ...] = TRANSPORTS


_EXAMPLES = [
    Example(summary="WebRTC", value={"transport": "webrtc", "body": {"language": "en"}}),
    Example(
        summary="A Daily room", value={"transport": "daily", "body": {"room_url": "https://example.daily.co/room"}}
    ),
]


_NO_NEW_ROOM = NotSupported("createDailyRoom: Daily rooms are not created here; name one as body.room_url.")
_DOCUMENTED = documented(
    {200: StartReply(session_id=EXAMPLE.session_id)},
    Invalid("body.room_url", "must be given for transport daily"),
    *BODY,
    StillLeaving(),
    AtCapacity(1000),
    _NO_NEW_ROOM,
    Away(),
    access=START,
)


@post("/start", status_code=200, tags=["pipecat"], **_DOCUMENTED)
async def start(
    data: Annotated[StartRequest, Body(title="StartRequest", examples=_EXAMPLES)], parts: Injected
) -> StartReply:
    """Start a session as with Pipecat's development runner."""
    return await _start(parts, data)


@post("/v1/public/{agent:str}/start", status_code=200, tags=["pipecat"], **_DOCUMENTED)
async def start_agent(
    agent: FromPath[str],
    data: Annotated[StartRequest, Body(title="StartRequest", examples=_EXAMPLES)],
    parts: Injected,
) -> StartReply:
    """Start a session as with Pipecat Cloud. A fleet has one bot, so that any agent's name means it."""
    return await _start(parts, data)


@get("/status", sync_to_thread=False, tags=["pipecat"], **documented({200: Readiness()}, access=OPEN))
def status() -> Readiness:
    """Say what can be started: Pipecat's client asks this first."""
    return Readiness()


async def _start(parts: Parts, data: StartRequest) -> StartReply:
    launch = launch_of(join_request(data), parts.settings, str(uuid4()))
    reply = await accept(parts, launch)
    asked = data.enable_default_ice_servers
    servers = parts.settings.ice_servers_of(reply.session_id, time.time()) if asked else []
    ice = IceConfig(ice_servers=servers) if servers else UNSET
    return StartReply(session_id=reply.session_id, ice_config=ice)


def join_request(data: StartRequest) -> JoinRequest:
    """The same wish in our own words.

    Raises:
        Invalid: it is for another transport, or `body` lacks what Daily needs.
        NotSupported: it is for a new Daily room.
    """
    if data.create_daily_room:
        raise _NO_NEW_ROOM
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
