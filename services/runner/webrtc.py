"""The bot's end of a WebRTC connection: signalling arrives as commands, the answer leaves as a reply."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiortc import InvalidAccessError, InvalidStateError, RTCIceCandidate, RTCIceServer
from aiortc.sdp import candidate_from_sdp
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection

from services.runner.call.participants import participants
from shared.contract import Candidates, CommandReason, IceCandidate, Offer, Outcome, Reply
from shared.ice import IceServer


class Signalling:
    """One client's connection: the first offer makes it, later ones of the same client renew it."""

    def __init__(self, ice_servers: Sequence[IceServer]) -> None:
        self.connected = asyncio.Event()
        """The client is connected, and the bot's transport with it."""
        self._ice_servers = [
            RTCIceServer(one.urls, one.username or None, one.credential or None) for one in ice_servers
        ]
        self._connection: SmallWebRTCConnection | None = None
        self._offered: asyncio.Future[tuple[SmallWebRTCConnection, Any]] = asyncio.get_running_loop().create_future()

    async def offered(self) -> tuple[SmallWebRTCConnection, Any]:
        """Wait for the first offer: its connection, answered but not yet connected, and its request data."""
        return await self._offered

    async def offer(self, offer: Offer) -> Reply:
        """Answer an offer; a second client is refused, for a session has one."""
        if self._connection is None:
            connection = SmallWebRTCConnection(self._ice_servers)
            try:
                await connection.initialize(offer.sdp, offer.sdp_type)
            except (ValueError, InvalidStateError, InvalidAccessError) as error:
                await connection.disconnect()  # type: ignore[no-untyped-call]
                return _refused(offer, f"sdp: {error}")
            if not connection.pc.getTransceivers():
                await connection.disconnect()  # type: ignore[no-untyped-call]
                return _refused(offer, "sdp: the offer has no media")
            connection.add_event_handler("connected", self._on_connected)
            self._connection = connection
            participants.watch_connection(connection)
            self._offered.set_result((connection, offer.request_data))
        elif offer.pc_id == self._connection.pc_id:
            connection = self._connection
            try:
                await connection.renegotiate(offer.sdp, offer.sdp_type, offer.restart_pc)
            except InvalidStateError:
                return _refused(offer, "the connection was closed meanwhile")
            except (ValueError, InvalidAccessError) as error:
                return _refused(offer, f"sdp: {error}")
        else:
            return _refused(offer, "this session has a WebRTC client already; start another session")
        return Reply(command_id=offer.command_id, outcome=Outcome.DELIVERED, result=connection.get_answer())  # type: ignore[no-untyped-call]

    async def _on_connected(self, _: SmallWebRTCConnection) -> None:
        self.connected.set()

    async def candidates(self, command: Candidates) -> Reply:
        """Add a client's candidates; an empty one says that there are no more (RFC 8840)."""
        if self._connection is None or self._connection.pc_id != command.pc_id:
            return _refused(command, f"there is no connection {command.pc_id}; send an offer first")
        try:
            candidates = [_parse(one) for one in command.candidates]
        except (AssertionError, ValueError):
            return _refused(command, "candidates: not what browsers call a candidate")
        for candidate in candidates:
            try:
                await self._connection.add_ice_candidate(candidate)  # type: ignore[no-untyped-call]
            except ValueError as error:
                return _refused(command, f"candidates: {error}")
        return Reply(command_id=command.command_id, outcome=Outcome.DELIVERED)


def _parse(one: IceCandidate) -> RTCIceCandidate | None:
    if not one.candidate:
        return None
    candidate = candidate_from_sdp(one.candidate.removeprefix("candidate:"))
    candidate.sdpMid = one.sdp_mid
    candidate.sdpMLineIndex = one.sdp_m_line_index
    return candidate


def _refused(command: Offer | Candidates, message: str) -> Reply:
    reason = CommandReason.REFUSED
    return Reply(command_id=command.command_id, outcome=Outcome.FAILED, reason=reason, message=message)
