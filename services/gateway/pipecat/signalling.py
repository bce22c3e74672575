"""`POST` and `PATCH /sessions/{id}/api/offer`: WebRTC signalling, as Pipecat's client SDKs speak it.

The bodies are Pipecat's to define, so that fields which a newer client sends are let pass.
"""

from typing import Annotated, Any, Literal
from uuid import uuid4

import msgspec
from litestar import patch, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath
from msgspec import Meta

from services.gateway.access.auth import CONNECT
from services.gateway.commands.asking import ask
from services.gateway.documentation import BODY, documented
from services.gateway.errors import Away, BadAnswer, Invalid, NoAnswer, NotFound, Refused
from services.gateway.join import check_depth
from services.gateway.parts import Injected, Parts
from shared.contract import Candidates, IceCandidate, Offer, Outcome, Reply

PATHS = ["/sessions/{session_id:str}/api/offer", "/v1/public/{agent:str}/sessions/{session_id:str}/api/offer"]
"""Clients make it from the address that they were given for the start. Which bot it is, the session knows."""
CANDIDATES_WAIT_S = 10.0
NO_ANSWER_IN_IT = "The bot's answer to the offer is no answer."


class OfferRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A client's offer; the first, or a new one for the peer connection `pc_id`."""

    sdp: Annotated[str, Meta(min_length=1, max_length=200_000)]
    type: Annotated[str, Meta(max_length=32)]
    pc_id: Annotated[str, Meta(max_length=256)] | None = None
    restart_pc: bool | None = None
    request_data: Any = None
    request_data_camel: Annotated[Any, Meta(description="Another name for request_data.")] = msgspec.field(
        default=None, name="requestData"
    )


class OfferReply(msgspec.Struct, frozen=True, kw_only=True):
    """The bot's answer."""

    sdp: str
    type: str
    pc_id: str


class CandidateBody(msgspec.Struct, frozen=True, kw_only=True):
    """One ICE candidate, as browsers spell it or as Pipecat does."""

    candidate: Annotated[str, Meta(max_length=4096)]
    sdp_mid: Annotated[str, Meta(max_length=256)] | None = None
    sdp_mline_index: int | None = None
    sdp_mid_camel: Annotated[str, Meta(max_length=256)] | None = msgspec.field(default=None, name="sdpMid")
    sdp_mline_index_camel: int | None = msgspec.field(default=None, name="sdpMLineIndex")


class CandidatesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """More ICE candidates of a client that has made its offer."""

    pc_id: Annotated[str, Meta(max_length=256)]
    candidates: Annotated[list[CandidateBody], Meta(max_length=256)]


class CandidatesReply(msgspec.Struct, frozen=True, kw_only=True):
    """They have reached the bot."""

    status: Literal["success"] = "success"


_PC_ID = "SmallWebRTCConnection#0"
_OFFER = [Example(value={"sdp": "v=0…", "type": "offer"})]
_CANDIDATES = [Example(value={"pc_id": _PC_ID, "candidates": [{"candidate": "candidate:…", "sdpMid": "0"}]})]


_NO_ANSWER = NoAnswer("The bot did not answer within 30 s.")
_NOT_NOW = (NotFound("The session is over: left"), Refused("The bot takes no WebRTC connection."), _NO_ANSWER, Away())


@post(
    PATHS,
    status_code=200,
    tags=["webrtc"],
    **documented(
        {200: OfferReply(sdp="v=0…", type="answer", pc_id=_PC_ID)},
        Invalid("transport", "the session's transport is daily, not webrtc"),
        *BODY,
        *_NOT_NOW,
        BadAnswer(NO_ANSWER_IN_IT),
        access=CONNECT,
    ),
)
async def offer(
    session_id: FromPath[str],
    data: Annotated[OfferRequest, Body(title="OfferRequest", examples=_OFFER)],
    parts: Injected,
) -> OfferReply:
    """Connect a WebRTC client to the session's bot; it may still be about to start."""
    request_data = data.request_data_camel if data.request_data is None else data.request_data
    check_depth("request_data", request_data)
    command = Offer(
        command_id=uuid4().hex,
        reply_to=parts.replies.gateway_id,
        sdp=data.sdp,
        sdp_type=data.type,
        pc_id=data.pc_id,
        restart_pc=bool(data.restart_pc),
        request_data=request_data,
    )
    reply = await _ask(parts, session_id, command, parts.settings.join_timeout_s)
    try:
        return msgspec.convert(reply.result, OfferReply)
    except msgspec.ValidationError:
        raise BadAnswer(NO_ANSWER_IN_IT) from None


@patch(
    PATHS,
    status_code=200,
    tags=["webrtc"],
    **documented({200: CandidatesReply()}, Invalid("pc_id", "is missing"), *BODY, *_NOT_NOW, access=CONNECT),
)
async def candidates(
    session_id: FromPath[str],
    data: Annotated[CandidatesRequest, Body(title="CandidatesRequest", examples=_CANDIDATES)],
    parts: Injected,
) -> CandidatesReply:
    """Bring further ICE candidates to the bot."""
    command = Candidates(
        command_id=uuid4().hex,
        reply_to=parts.replies.gateway_id,
        pc_id=data.pc_id,
        candidates=tuple(_candidate(candidate) for candidate in data.candidates),
    )
    await _ask(parts, session_id, command, CANDIDATES_WAIT_S)
    return CandidatesReply()


def _candidate(body: CandidateBody) -> IceCandidate:
    return IceCandidate(
        candidate=body.candidate,
        sdp_mid=body.sdp_mid_camel if body.sdp_mid is None else body.sdp_mid,
        sdp_m_line_index=body.sdp_mline_index_camel if body.sdp_mline_index is None else body.sdp_mline_index,
    )


async def _ask(parts: Parts, session_id: str, command: Offer | Candidates, wait_s: float) -> Reply:
    session = await parts.session(session_id)
    if session.transport != "webrtc":
        raise Invalid("transport", f"the session's transport is {session.transport}, not webrtc")
    reply = await ask(parts, session, command, wait_s)
    if reply is None:
        raise NoAnswer(f"The bot did not answer within {wait_s:g} s.")
    if reply.outcome is not Outcome.DELIVERED:
        raise Refused(reply.message or "The bot takes no WebRTC connection.")
    return reply
