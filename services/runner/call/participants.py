"""Who is in the room: what transports and WebRTC connections say when somebody comes or goes.

A process runs one session, so there is one list of them.
"""

from typing import TYPE_CHECKING, Any

from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport

from services.runner.call.activity import LONGEST_NAME, Outlet, outlet
from services.runner.call.processors import all_of
from shared.contract import ParticipantJoined, ParticipantLeft

if TYPE_CHECKING:
    from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection


class Participants:
    """Those of one session, in however many pipelines."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._present: set[str] = set()
        self._watched: set[Any] = set()

    def watch(self, pipeline: FrameProcessor) -> None:
        """Tell of everyone who comes into a room of this pipeline, and leaves it."""
        for transport in _transports(pipeline) - self._watched:
            self._watched.add(transport)
            transport.add_event_handler("on_client_connected", self._joined)
            transport.add_event_handler("on_client_disconnected", self._left)

    def watch_connection(self, connection: "SmallWebRTCConnection") -> None:
        """Tell of the client at the other end of a connection, which no pipeline shows."""

        async def connected(client: "SmallWebRTCConnection") -> None:
            await self._joined(None, client)

        async def gone(client: "SmallWebRTCConnection") -> None:
            await self._left(None, client)

        connection.add_event_handler("connected", connected)
        for event in ("disconnected", "closed"):
            connection.add_event_handler(event, gone)

    async def _joined(self, _: Any, client: Any, *__: Any) -> None:
        participant_id, name = who(client)
        if participant_id not in self._present:
            self._present.add(participant_id)
            self._outlet.tell(ParticipantJoined(**self._outlet.whose, participant_id=participant_id, name=name))

    async def _left(self, _: Any, client: Any, *__: Any) -> None:
        participant_id, _name = who(client)
        if participant_id in self._present:
            self._present.discard(participant_id)
            self._outlet.tell(ParticipantLeft(**self._outlet.whose, participant_id=participant_id))


def who(client: Any) -> tuple[str, str]:
    """Id and name of what a transport calls its client: Daily's participant, a WebRTC connection, or an id."""
    if isinstance(client, dict):
        info = client.get("info") or {}
        return str(client.get("id") or "")[:LONGEST_NAME], str(info.get("userName") or "")[:LONGEST_NAME]
    found = client if isinstance(client, str) else getattr(client, "pc_id", "")
    return str(found)[:LONGEST_NAME], ""


def _transports(pipeline: FrameProcessor) -> set[Any]:
    """Pipecat shows a pipeline's transport to nobody but the transport's own processors, where it does at all."""
    found = {getattr(processor, "_transport", None) for processor in all_of(pipeline) if isinstance(processor, _ENDS)}
    return {transport for transport in found if "on_client_connected" in getattr(transport, "_event_handlers", ())}


_ENDS = (BaseInputTransport, BaseOutputTransport)

participants = Participants(outlet)
"""This process's."""
