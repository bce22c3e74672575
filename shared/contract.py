"""What the services say to each other, and nothing else.

They meet only in these Redis keys. Every entry carries one field, `json`, with one of the Structs below.

| key                          | written by                    | read by                                          |
|------------------------------|-------------------------------|--------------------------------------------------|
| `{bot}:launch`               | gateway (offer)               | group `runners` (claims), `operators` (overflow) |
| `{bot}:relaunch`             | requeue: later attempts       | the same groups, before any fresh launch         |
| `{bot}:events`               | everyone                      | gateways (plain XREAD): the fleet feed           |
| `{bot}:session:<session>`    | everyone, same ids as feed    | gateways: its fold is the session                |
| `{bot}:commands:<session>`   | gateway                       | group `runner`: whoever holds the lease          |
| `{bot}:replies:<gateway>`    | runners                       | that gateway                                     |
| `{bot}:runners`              | runners                       | gateways, operators: presence                    |
| `{bot}:dead`                 | whoever gives up              | gateways: people redrive or delete its entries   |
| `{bot}:room:<room_url>`      | the scripts only              | the scripts only: room -> session, no stream     |

A launch entry has the id of the `queued` event that announced it, and lives until its session ends: the two launch
streams are the list of live sessions. Their pending lists in the group `runners` are the lease table: the consumer is
the holder and the idle time is the lease's age. A group hands entries out in order, so what must come first, the next
attempt of a session whose people wait in silence, has a stream of its own.

Readers ignore unknown fields, so old and new services mix during a deploy.
"""

from enum import StrEnum
from typing import Any, Literal, TypeAlias

import msgspec

LAUNCH = "{bot}:launch"
RELAUNCH = "{bot}:relaunch"
EVENTS = "{bot}:events"
RUNNERS = "{bot}:runners"
DEAD = "{bot}:dead"

CLAIMS = "runners"
"""The launch stream's group whose pending list is the lease table."""
OVERFLOW = "operators"
"""The launch stream's group through which exactly one operator looks at each launch."""
COMMANDS = "runner"
"""The group of a command stream; its one consumer is the holder of the session's lease."""

FIELD = "json"


def launch_stream(attempt: int) -> str:
    """The stream of a session's launch in this attempt."""
    return LAUNCH if attempt == 1 else RELAUNCH


EVENTS_KEPT = 100_000
"""About how many entries the feed holds (`MAXLEN ~`)."""
SESSION_KEPT_S = 24 * 3600
"""How long a session's history outlives the session."""
REPLIES_KEPT_S = 120
"""How long an unread reply, and with it the stream of a gateway that is gone, is kept."""
REPLIES_KEPT = 1_000
DEAD_KEPT = 10_000
PRESENCE_EVERY_S = 2.0
PRESENCE_KEPT_S = 8.0
"""A runner that said nothing for this long is not part of the fleet's picture any more."""


def session_key(session_id: str) -> str:
    """The stream with one session's history."""
    return f"{{bot}}:session:{session_id}"


def commands_key(session_id: str) -> str:
    """The stream with the commands to one session's bot."""
    return f"{{bot}}:commands:{session_id}"


def replies_key(gateway_id: str) -> str:
    """The stream with the replies that one gateway process waits for."""
    return f"{{bot}}:replies:{gateway_id}"


def room_key(room_url: str) -> str:
    """The index entry that keeps a room to one session; `room_url` is canonical."""
    return f"{{bot}}:room:{room_url}"


Transport: TypeAlias = Literal["daily", "webrtc", "none"]
Start: TypeAlias = Literal["warm", "cold"]
ColdStage: TypeAlias = Literal["created", "scheduled", "started"]
"""How far a cold runner has come: asked for, given a place, its process begun."""


class Status(StrEnum):
    """What a session is; there is nothing between or beside these."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether nothing can follow."""
        return self in {Status.ENDED, Status.FAILED}


class Reason(StrEnum):
    """Why an attempt or a session came to its end: the closed list."""

    COMPLETED = "completed"
    """The bot's function returned."""
    LEFT = "left"
    """Told to leave, or withdrawn while it was queued."""
    MAX_DURATION = "max_duration"
    """The session's longest time was over."""
    BOT_IMPORT_ERROR = "bot_import_error"
    """The bot's file or module does not import."""
    BOT_ERROR = "bot_error"
    """The bot's function raised."""
    BOT_DIED = "bot_died"
    """The bot's process is gone without a word: a signal, or an exit code."""
    JOIN_FAILED = "join_failed"
    """The transport said that the room cannot be joined."""
    JOIN_TIMEOUT = "join_timeout"
    """Not in the room within the join timeout."""
    NO_CLIENT = "no_client"
    """Nobody offered a WebRTC connection within the join timeout."""
    DEADLINE = "deadline"
    """No runner took the launch before its deadline."""
    MEMORY_LIMIT = "memory_limit"
    """The bot's process used more memory than a session may."""
    UNREADABLE = "unreadable"
    """The launch is not one that a runner of this version can read."""
    LEASE_LOST = "lease_lost"
    """The runner could not keep its lease."""
    RUNNER_LOST = "runner_lost"
    """The runner is gone; its session was handed back or taken from it."""
    RUNNER_STOPPED = "runner_stopped"
    """The runner was stopped before the session was over, and handed it back."""

    @property
    def final(self) -> bool:
        """Whether another attempt would end the same way."""
        return self in {Reason.BOT_IMPORT_ERROR, Reason.BOT_ERROR, Reason.NO_CLIENT, Reason.DEADLINE}


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `v` is raised when a field changes its meaning, never for a new field."""

    v: int = 1


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why one attempt came to nothing. `message` is for people."""

    attempt: int
    reason: Reason
    message: str = ""


class Launch(Wire, frozen=True, kw_only=True):
    """Gateway to runners: put a bot into this room. Whoever fails at it writes the next attempt in its place.

    `room_url` is canonical, and the session's own URL where no room was named. `deadline_s` counts from the entry's id.
    `token` and `body` are for the bot alone: they appear in no event, log or answer.
    """

    session_id: str
    room_url: str
    transport: Transport
    deadline_s: float
    max_duration_s: float
    attempt: int = 1
    token: str | None = None
    body: Any = None
    labels: dict[str, str] = {}
    failures: tuple[Failure, ...] = ()
    redriven_from: str | None = None
    """The session that was given up, where this one takes its dead letter's place."""


class DeadLetter(Wire, frozen=True, kw_only=True):
    """Whoever gave a launch up, to people. `launch` is whole, so that it can be offered again.

    An entry that nobody can read is here as it was, in `unreadable`.
    """

    launch: Launch | None = None
    unreadable: str = ""


class Event(Wire, frozen=True, kw_only=True, tag_field="type"):
    """Something that happened to a session; its time is its entry id, so every reader sees the server's clock."""

    session_id: str
    attempt: int


class Queued(Event, frozen=True, kw_only=True, tag="queued"):
    """The session waits for a runner; with `reason`, because its last attempt ended so."""

    room_url: str
    transport: Transport
    deadline_s: float
    labels: dict[str, str] = {}
    reason: Reason | None = None
    message: str = ""
    redriven_from: str | None = None


class ColdStart(Event, frozen=True, kw_only=True, tag="cold_start"):
    """Operator: no runner took the launch, so one is started, and how far it has come.

    `error` says why it does not come up, and `reason` the same in a word, as Kubernetes calls it.
    """

    launcher: str
    stage: ColdStage = "created"
    reason: str = ""
    error: str = ""


class Starting(Event, frozen=True, kw_only=True, tag="starting"):
    """Runner: a process has the launch and calls the bot."""

    runner: str
    start: Start


class Running(Event, frozen=True, kw_only=True, tag="running"):
    """Runner: the bot is in its room."""


class Leaving(Event, frozen=True, kw_only=True, tag="leaving"):
    """Runner: the bot has been told to leave."""

    reason: Reason


class Ended(Event, frozen=True, kw_only=True, tag="ended"):
    """The session is over as it should be."""

    reason: Reason


class Failed(Event, frozen=True, kw_only=True, tag="failed"):
    """The session is given up."""

    reason: Reason
    message: str = ""


AnyEvent: TypeAlias = Queued | ColdStart | Starting | Running | Leaving | Ended | Failed


class Command(Wire, frozen=True, kw_only=True, tag_field="type"):
    """Gateway to the bot of one session. With `reply_to` (a gateway's id) that gateway waits for the `Reply`."""

    command_id: str
    reply_to: str | None = None


class Say(Command, frozen=True, kw_only=True, tag="say"):
    """Speak this text."""

    text: str


class Message(Command, frozen=True, kw_only=True, tag="message"):
    """Put this text into the model's context; `immediate` interrupts the bot and makes it answer."""

    text: str
    mode: Literal["queued", "immediate"] = "queued"
    sender_id: str = "system"
    sender_name: str = "System"


class Leave(Command, frozen=True, kw_only=True, tag="leave"):
    """Leave the room; the session ends with reason `left`."""


class Offer(Command, frozen=True, kw_only=True, tag="offer"):
    """A WebRTC client's offer. The reply's result is the answer: `{sdp, type, pc_id}`."""

    sdp: str
    sdp_type: str
    pc_id: str | None = None
    restart_pc: bool = False
    request_data: Any = None


class IceCandidate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One candidate as browsers spell it."""

    candidate: str
    sdp_mid: str | None = None
    sdp_m_line_index: int | None = None


class Candidates(Command, frozen=True, kw_only=True, tag="candidates"):
    """More ICE candidates of a WebRTC client that has made its offer."""

    pc_id: str
    candidates: tuple[IceCandidate, ...]


AnyCommand: TypeAlias = Say | Message | Leave | Offer | Candidates


class Outcome(StrEnum):
    """What became of a command."""

    DELIVERED = "delivered"
    """The bot has it."""
    UNHANDLED = "unhandled"
    """This bot has nothing that could take it, such as no pipeline to speak with."""
    FAILED = "failed"
    """The bot refused it, or was gone; the message says why."""


class Reply(Wire, frozen=True, kw_only=True):
    """Runner to the gateway that waits: what became of its command."""

    command_id: str
    outcome: Outcome
    message: str = ""
    result: Any = None


class Presence(Wire, frozen=True, kw_only=True):
    """A runner to everyone, every few seconds and when something changes. `busy` of its `slots` have a session."""

    runner: str
    host: str
    pid: int
    start: Start
    version: str
    state: Literal["starting", "ready", "draining", "gone"]
    slots: int
    busy: int
    free: int
    running: int
    """How many of the busy ones are in their room."""
    error: str = ""
    """Why no bot can run here, such as one that does not import."""
