"""What a supervisor and a session process say to each other, over the socket pair that is the process's lifeline.

| message    | from       | causes                                                                  |
|------------|------------|-------------------------------------------------------------------------|
| `Forked`   | process    | the supervisor can hold it                                              |
| `Ready`    | process    | the slot counts as warm                                                 |
| `Begin`    | supervisor | the bot's function is called                                            |
| `Entering` | process    | the session is `running` soon, even if the bot blocks its event loop    |
| `InRoom`   | process    | the session is `running`                                                |
| `Do`       | supervisor | a command becomes frames                                                |
| `Done`     | process    | the command is acknowledged, its sender told                            |
| `Happened` | process    | what went on in the call is told, as far as there is room for it        |
| `Hidden`   | process    | a secret is struck out of what the bot prints                           |
| `Recorded` | process    | a span is sent on to the collector                                      |
| `Renewed`  | supervisor | the fence moves on                                                      |
| `EndsSoon` | supervisor | the bot's pipeline gets a `SessionEndingFrame`                          |
| `Stop`     | supervisor | the bot leaves its room; the process is killed if that takes too long   |
| `Over`     | process    | the session ends, or goes to its next attempt; the process is ended     |

Times are readings of the monotonic clock, which the two processes share. End of file says that the other side is gone.
"""

import asyncio
import socket
from typing import Any, Generic, TypeVar

import msgspec

from shared.contract import AnyActivity, Candidates, Launch, Offer, Reason, Reply, ToBot

READY_WITHIN_S = 120.0
"""A process that has not imported its bot after this long never will."""
LONGEST_MESSAGE = 16 * 1024 * 1024

M = TypeVar("M")


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=str.lower):
    pass


class Moulded(msgspec.Struct, frozen=True, kw_only=True):
    """Zygote to supervisor, on their own line: forks can be had.

    `errors` tell by agent which bots do not import, `late` why some are imported after the fork.
    """

    import_s: float
    errors: dict[str, str] = {}
    late: dict[str, str] = {}


class Forked(_Message, frozen=True, kw_only=True):
    """The process is there, under this number; it may still have to import its bot."""

    pid: int


class Ready(_Message, frozen=True, kw_only=True):
    """The process has forked, imported and loaded, and waits for a launch."""

    after_s: float
    """How long it took, from the fork."""


class Begin(_Message, frozen=True, kw_only=True):
    """Here is a launch; the lease on it was renewed at `renewed_at`.

    `launch` is what goes back into a stream; where that is sealed, the bot gets `opened`.
    """

    entry: str
    holder: str
    launch: Launch
    renewed_at: float
    opened: Launch | None = None


class Entering(_Message, frozen=True, kw_only=True):
    """The bot's function is about to be called, and that is all that will tell that the bot is there."""

    begun_at: float


class InRoom(_Message, frozen=True, kw_only=True):
    """The bot is where it should be; its process has had the launch since `begun_at`."""

    begun_at: float


class Offered(_Message, frozen=True, kw_only=True):
    """A WebRTC client has made its offer: from now on it is on the bot to be in the room in time."""


class Do(_Message, frozen=True, kw_only=True):
    """A command, under the entry id by which it is acknowledged. From `due` on it is not wanted any more."""

    entry: str
    command: ToBot | Offer | Candidates
    due: float | None = None


class Done(_Message, frozen=True, kw_only=True):
    """What became of a command."""

    entry: str
    command: ToBot | Offer | Candidates
    reply: Reply


class Happened(_Message, frozen=True, kw_only=True):
    """Something went on in the session's call, at this time."""

    at: float
    activity: AnyActivity


class Hidden(_Message, frozen=True, kw_only=True):
    """Something that no line may show, and that the supervisor may not know."""

    secret: str


class RecordedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something within a span."""

    name: str
    at_ns: int
    attributes: dict[str, Any] = {}


class Recorded(_Message, frozen=True, kw_only=True):
    """A span that has come to its end. Its own `traceparent` names trace and span, `parent` the span that it is in."""

    name: str
    scope: str
    traceparent: str
    parent: str
    kind: str
    start_ns: int
    end_ns: int
    error: bool = False
    attributes: dict[str, Any] = {}
    events: tuple[RecordedEvent, ...] = ()


class Renewed(_Message, frozen=True, kw_only=True):
    """The lease was renewed at this time."""

    at: float


class EndsSoon(_Message, frozen=True, kw_only=True):
    """The session's longest time is over in `left_s`."""

    left_s: float


class Stop(_Message, frozen=True, kw_only=True):
    """Leave the room. Whoever is not gone after `grace_s` is killed."""

    reason: Reason
    grace_s: float


class Over(_Message, frozen=True, kw_only=True):
    """The bot's function has come to its end. Nothing follows but the end of file."""

    reason: Reason
    message: str = ""


ToProcess = Begin | Do | Renewed | EndsSoon | Stop
ToSupervisor = Forked | Ready | Entering | InRoom | Offered | Done | Happened | Hidden | Recorded | Over


class Pipe(Generic[M]):
    """One end of the pair: JSON lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, receives: Any) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder: msgspec.json.Decoder[M] = msgspec.json.Decoder(receives)

    async def receive(self) -> M | None:
        """The next message, or None when the other side is gone. Safe to cancel."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        try:
            return self._decoder.decode(line) if line.endswith(b"\n") else None
        except msgspec.DecodeError:
            # A bot that writes to its process's descriptors; the line is broken from here on.
            return None

    def send(self, message: msgspec.Struct) -> None:
        """Send; to a side that is gone, in vain."""
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    @property
    def broken(self) -> bool:
        """Whether the other side is known to be gone."""
        return self._reader.at_eof() or self._writer.is_closing()

    def close(self) -> None:
        """Close this end at once; a process at the other that waits for a launch exits."""
        self._writer.close()

    def end(self) -> None:
        """Say that nothing follows. This end stays open: a write to one that is closed loses what was not read yet."""
        self._writer.write_eof()


async def open_pipe(end: socket.socket, receives: Any) -> Pipe[Any]:
    """Speak over one end of a socket pair."""
    reader, writer = await asyncio.open_connection(sock=end, limit=LONGEST_MESSAGE)
    return Pipe(reader, writer, receives)
