"""What the services say to each other, and nothing else.

They meet only in these Redis keys. Every entry carries one field, `json`, with one of the Structs below.

| key                          | written by                    | read by                                          |
|------------------------------|-------------------------------|--------------------------------------------------|
| `{bot}:launch`               | gateway (offer)               | group `runners` (claims), `operators` (overflow) |
| `{bot}:relaunch`             | requeue: later attempts       | the same groups, before any fresh launch         |
| `{bot}:launch:<agent>`       | the same, for a named agent   | the same groups, by those who have the agent     |
| `{bot}:relaunch:<agent>`     | the same, for a named agent   | the same groups, by those who have the agent     |
| `{bot}:agents`               | offer, and whoever serves one | sweeps, gateways: every agent ever, a set        |
| `{bot}:events`               | everyone                      | gateways (plain XREAD), `webhooks`, `metrics`    |
| `{bot}:session:<session>`    | everyone, same ids as feed    | gateways: its fold is the session                |
| `{bot}:activity`             | runners                       | gateways (plain XREAD): what goes on in calls    |
| `{bot}:activity:<session>`   | runners, same ids as above    | gateways: the same of one session                |
| `{bot}:commands:<session>`   | gateway                       | group `runner`: whoever holds the lease          |
| `{bot}:replies:<gateway>`    | runners; who ends a session   | that gateway                                     |
| `{bot}:runners`              | runners                       | gateways, operators: presence                    |
| `{bot}:drain:<runner>`       | gateway                       | that runner: whether it is to drain              |
| `{bot}:dead`                 | whoever gives up              | gateways: people redrive or delete its entries   |
| `{bot}:webhooks:dead`        | operators                     | people: events that no receiver took             |
| `{bot}:rooms`                | gateway: before it makes one  | gateways, group `gateways`: who removes a room   |
| `{bot}:rate:<kind>:<key>`    | gateways                      | gateways: how many requests of a key are left    |
| `{bot}:room:<room_url>`      | the scripts only              | the scripts only: room -> session, no stream     |

A launch entry has the id of the `queued` event that announced it, and lives until its session ends: the launch streams
are the list of live sessions. Their pending lists in the group `runners` are the lease table: the consumer is the
holder and the idle time is the lease's age. A group hands entries out in order and to whoever asks, so what must come
first, the next attempt of a session whose people wait in silence, has a stream of its own, and so has each agent.

Readers ignore unknown fields, so old and new services mix during a deploy.

Below: the keys and their groups, how much of each is kept, the words, and the messages in the order of the table.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

LAUNCH = "{bot}:launch"
RELAUNCH = "{bot}:relaunch"
AGENTS = "{bot}:agents"
EVENTS = "{bot}:events"
ACTIVITY = "{bot}:activity"
RUNNERS = "{bot}:runners"
REPLIES = "{bot}:replies:"
DEAD = "{bot}:dead"
DEAD_WEBHOOKS = "{bot}:webhooks:dead"
ROOMS = "{bot}:rooms"


def launch_stream(agent: str, attempt: int) -> str:
    """The stream of an agent's launches in this attempt; the default agent has the empty name."""
    stream = LAUNCH if attempt == 1 else RELAUNCH
    return f"{stream}:{agent}" if agent else stream


def launch_streams(agents: Iterable[str]) -> tuple[str, ...]:
    """All streams with launches of these agents, later attempts first; an entry id stands in one of them."""
    agents = tuple(agents)
    return tuple(launch_stream(agent, attempt) for attempt in (2, 1) for agent in agents)


def session_key(session_id: str) -> str:
    """The stream with one session's history."""
    return f"{{bot}}:session:{session_id}"


def activity_key(session_id: str) -> str:
    """The stream with what went on in one session's calls."""
    return f"{{bot}}:activity:{session_id}"


def commands_key(session_id: str) -> str:
    """The stream with the commands to one session's bot."""
    return f"{{bot}}:commands:{session_id}"


def replies_key(gateway_id: str) -> str:
    """The stream with the replies that one gateway process waits for."""
    return f"{REPLIES}{gateway_id}"


def drain_key(runner: str) -> str:
    """The stream with the order to drain that one runner looks for."""
    return f"{{bot}}:drain:{runner}"


def room_key(room_url: str) -> str:
    """The index entry that keeps a room to one session; `room_url` is canonical."""
    return f"{{bot}}:room:{room_url}"


def rate_key(kind: str, key: str) -> str:
    """The bucket of one key's requests of a kind; `key` is its fingerprint."""
    return f"{{bot}}:rate:{kind}:{key}"


CLAIMS = "runners"
"""The launch stream's group whose pending list is the lease table."""
OVERFLOW = "operators"
"""The launch stream's group through which exactly one operator looks at each launch."""
WEBHOOKS = "webhooks"
"""The feed's group through which the operators share the events that go to a receiver outside."""
COUNTED = "metrics"
"""The feed's group through which each event is counted by one operator, in its metrics."""
COMMANDS = "runner"
"""The group of a command stream; its one consumer is the holder of the session's lease."""
REMOVERS = "gateways"
"""The group of the noted rooms: whoever holds a note is about to remove that room."""

FIELD = "json"

EVENTS_KEPT = 100_000
"""About how many entries the feed holds (`MAXLEN ~`)."""
SESSION_KEPT_S = 24 * 3600
"""How long a session's history outlives the session."""
ACTIVITY_KEPT = 20_000
"""About how many entries the feed of activity holds."""
SESSION_ACTIVITY_KEPT = 2_000
"""About how many of them one session has, for as long after the last one as its history is kept."""
REPLIES_KEPT_S = 120
"""How long an unread reply, and with it the stream of a gateway that is gone, is kept."""
REPLIES_KEPT = 10_000
UNDONE_COMMANDS = 1_000
"""How many commands to one session may wait for their fate."""
UNDONE_BYTES = 8 * 1024 * 1024
"""How much memory of Redis they may take up."""
DEAD_KEPT = 10_000
DEAD_WEBHOOKS_KEPT = 10_000
PRESENCE_EVERY_S = 2.0
PRESENCE_KEPT_S = 8.0
"""A runner that said nothing for this long is not part of the fleet's picture any more."""
DRAIN_KEPT_S = 24 * 3600
"""How long a runner that cannot reach Redis may take to find that it is to drain."""

Transport: TypeAlias = Literal["daily", "webrtc", "none"]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
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

    @property
    def well(self) -> bool:
        """Whether a session that comes to its end so has ended as it should, whatever its bot's process does then."""
        return self in {Reason.COMPLETED, Reason.LEFT, Reason.MAX_DURATION}


class Outcome(StrEnum):
    """What became of a command."""

    DELIVERED = "delivered"
    """The bot has it."""
    UNHANDLED = "unhandled"
    """This bot has nothing that could take it, such as no pipeline to speak with."""
    FAILED = "failed"
    """The bot refused it, or was gone; the message says why."""
    EXPIRED = "expired"
    """Its turn came after the time that its sender gave it."""


class CommandReason(StrEnum):
    """Why a command was not delivered: the closed list."""

    SESSION_OVER = "session_over"
    """The session came to its end first."""
    UNREADABLE = "unreadable"
    """The command is not one that a runner of this version can read."""
    REFUSED = "refused"
    """Not as things are, such as a second WebRTC client."""
    NO_PIPELINE = "no_pipeline"
    """The bot has none."""
    NO_SERVICE = "no_service"
    """The bot's pipeline has no part that could take it."""
    NO_HANDLER = "no_handler"
    """The bot takes no custom commands."""
    BOT_ERROR = "bot_error"
    """The bot's handler raised, or did not come to its end."""


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
    `token` and `body` are for the bot alone: they appear in no event, log or answer. With PAYLOAD_KEYS they are not
    here but in `sealed`, as shared/sealing.py has it.
    """

    session_id: str
    room_url: str
    transport: Transport
    deadline_s: float
    max_duration_s: float
    attempt: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    token: str | None = None
    body: Any = None
    labels: dict[str, str] = {}
    failures: tuple[Failure, ...] = ()
    redriven_from: str | None = None
    """The session that was given up, where this one takes its dead letter's place."""
    agent: str = ""
    """Which of the fleet's bots; empty is the default one."""
    owner: bool = False
    """The Daily room is the fleet's own: the token that the runner gets for its bot makes it an owner."""
    sealed: str = ""
    traceparent: str = ""
    """The trace that this is part of and the span that wrote it, in the form of W3C; empty if there is none."""


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
    agent: str = ""


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
    """Runner: the bot is in its room. The times are by the runner's clock; those of older runners are missing."""

    claimed_ago_s: float | None = None
    """How long before this was written the launch was claimed."""
    process_s: float | None = None
    """How long after the claim a process had the launch."""


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


class CommandDone(Event, frozen=True, kw_only=True, tag="command"):
    """The fate of a command: of each but signalling, once. Nothing of what the command said is in it."""

    command_id: str
    """Empty for a command that nobody can read."""
    kind: str
    outcome: Outcome
    reason: CommandReason | None = None
    message: str = ""


AnyEvent: TypeAlias = Queued | ColdStart | Starting | Running | Leaving | CommandDone | Ended | Failed


class Activity(Event, frozen=True, kw_only=True):
    """Runner: something that went on in a session's call. It changes no state, and too much of it is dropped."""

    ago_s: float = 0.0
    """How long before its entry's time it was: entries are written together."""
    dropped: int = 0
    """How many there was no room for since the last one that was told."""


class ParticipantJoined(Activity, frozen=True, kw_only=True, tag="participant_joined"):
    """Somebody came into the room, or connected; `name` where the transport tells one."""

    participant_id: str
    name: str = ""


class ParticipantLeft(Activity, frozen=True, kw_only=True, tag="participant_left"):
    """Somebody left the room, or is not connected any more."""

    participant_id: str


class Speaking(Activity, frozen=True, kw_only=True, tag="speaking"):
    """A side began or ceased to speak. Of many short stretches some are left out, always whole ones."""

    who: Literal["user", "bot"]
    what: Literal["started", "stopped"]


class Transcript(Activity, frozen=True, kw_only=True, tag="transcript"):
    """What a side said, in final form; only with EVENTS_TRANSCRIPTS. The bot's may be more than was heard of it."""

    who: Literal["user", "bot"]
    text: str


class Metrics(Activity, frozen=True, kw_only=True, tag="metrics"):
    """What the pipeline measured. Names end in their unit; those of usage are what came since the last time."""

    values: dict[str, float]
    """`ttfb_s`, `latency_s` (from the user's last sound to the bot's first), `prompt_tokens`, `characters`…"""
    processor: str = ""
    model: str = ""


class PipelineError(Activity, frozen=True, kw_only=True, tag="pipeline_error"):
    """A part of the pipeline complained; `fatal` if it cannot go on."""

    message: str
    processor: str = ""
    fatal: bool = False


AnyActivity: TypeAlias = ParticipantJoined | ParticipantLeft | Speaking | Transcript | Metrics | PipelineError


class Command(Wire, frozen=True, kw_only=True, tag_field="type"):
    """Gateway to the bot of one session. With `reply_to` (a gateway's id) that gateway waits for the `Reply`.

    A command can reach the bot twice, under the same id. `expires_s` counts from the entry's id.
    """

    command_id: str
    reply_to: str | None = None
    expires_s: float | None = None
    traceparent: str = ""
    """The trace of the request that sent it, as in `Launch`."""


class Say(Command, frozen=True, kw_only=True, tag="say"):
    """Speak this text."""

    text: str


class Message(Command, frozen=True, kw_only=True, tag="message"):
    """Put this text into the model's context; `immediate` interrupts the bot and makes it answer."""

    text: str
    mode: Literal["queued", "immediate"] = "queued"
    sender_id: str = "system"
    sender_name: str = "System"


class Interrupt(Command, frozen=True, kw_only=True, tag="interrupt"):
    """Stop speaking, and drop what was about to be said."""


class Mute(Command, frozen=True, kw_only=True, tag="mute"):
    """Be silent and do not listen, until `Unmute`."""


class Unmute(Command, frozen=True, kw_only=True, tag="unmute"):
    """Speak and listen again."""


class LlmChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of the language model; those that are None stay as they are."""

    model: str | None = None
    system_instruction: str | None = None


class TtsChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of the text to speech; those that are None stay as they are."""

    model: str | None = None
    voice: str | None = None
    language: str | None = None


class SttChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of the speech recognition; those that are None stay as they are."""

    model: str | None = None
    language: str | None = None


class Update(Command, frozen=True, kw_only=True, tag="update"):
    """Change settings of the bot's services."""

    llm: LlmChange | None = None
    tts: TtsChange | None = None
    stt: SttChange | None = None


class AppMessage(Command, frozen=True, kw_only=True, tag="app_message"):
    """Send this to the clients in the room."""

    data: Any


class Dtmf(Command, frozen=True, kw_only=True, tag="dtmf"):
    """Press these keys of a telephone."""

    digits: str


class Custom(Command, frozen=True, kw_only=True, tag="custom"):
    """Whatever the bot understands: its own handler takes it."""

    data: Any


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


class Sealed(Command, frozen=True, kw_only=True, tag="sealed"):
    """With PAYLOAD_KEYS: a command that says more than its `kind`, in `sealed`, as shared/sealing.py has it."""

    kind: str
    sealed: str


ToBot: TypeAlias = Say | Message | Interrupt | Mute | Unmute | Update | AppMessage | Dtmf | Custom
"""What becomes frames in the bot's pipeline, or is for its handler."""
AnyCommand: TypeAlias = ToBot | Leave | Offer | Candidates


class Reply(Wire, frozen=True, kw_only=True):
    """Runner to the gateway that waits: what became of its command."""

    command_id: str
    outcome: Outcome
    reason: CommandReason | None = None
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
    slots: Count
    busy: Count
    free: Count
    running: Count
    """How many of the busy ones are in their room."""
    error: str = ""
    """Why no bot can run here, such as one that does not import; names the agents where there are several."""
    agents: tuple[str, ...] = ("",)
    """Whose launches it takes; an older runner has the default agent."""
    broken: tuple[str, ...] = ()
    """Those of its agents whose bots do not import; it leaves their launches to runners where they do."""

    @property
    def takes_launches(self) -> bool:
        """Whether it does, or will as soon as it has started."""
        return self.state in {"starting", "ready"}


class Drain(Wire, frozen=True, kw_only=True):
    """Gateway to one runner: claim nothing more, finish what runs, then exit. To be told twice is the same as once."""

    runner: str


class DeadLetter(Wire, frozen=True, kw_only=True):
    """Whoever gave a launch up, to people. `launch` is whole, so that it can be offered again.

    An entry that nobody can read is here as it was, in `unreadable`.
    """

    launch: Launch | None = None
    unreadable: str = ""


class DeadWebhook(Wire, frozen=True, kw_only=True):
    """Operator, to people: an event as it would have been sent, and why it was given up."""

    event: dict[str, Any]
    error: str


class RoomNote(Wire, frozen=True, kw_only=True):
    """Gateway to all gateways: a room of this name at Daily is for this session, and must not outlive it.

    It is written before the room is made, so that no crash leaves a room that nobody knows of.
    """

    session_id: str
    room_name: str
