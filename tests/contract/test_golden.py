"""Every message on the wire, as other versions of the services have it.

A golden file is one entry's JSON. `PIPEFLEET_WRITE_GOLDEN=1 make test ARGS="tests/contract"` writes the files anew:
look at what changed, for a field that was renamed or has gone breaks a fleet in the middle of a deploy.
"""

import json
import os
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from shared.contract import (
    AnyActivity,
    AnyCommand,
    AnyEvent,
    AppMessage,
    Candidates,
    ColdStart,
    CommandDone,
    CommandReason,
    Custom,
    DeadLetter,
    DeadWebhook,
    Drain,
    Dtmf,
    Ended,
    Failed,
    Failure,
    IceCandidate,
    Interrupt,
    Launch,
    Leave,
    Leaving,
    LlmChange,
    Message,
    Metrics,
    Mute,
    Offer,
    Outcome,
    ParticipantJoined,
    ParticipantLeft,
    PipelineError,
    Presence,
    Queued,
    Reason,
    Reply,
    RoomNote,
    Running,
    Say,
    Sealed,
    Speaking,
    Starting,
    SttChange,
    Transcript,
    TtsChange,
    Unmute,
    Update,
    Wire,
)
from shared.redis.entries import Decoder, encode

GOLDEN = Path(__file__).parent / "golden"
FAILURE = Failure(attempt=1, reason=Reason.BOT_DIED, message="killed by SIGKILL")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LAUNCH = Launch(
    session_id="s1",
    room_url="https://example.daily.co/room",
    transport="daily",
    deadline_s=120.0,
    max_duration_s=14400.0,
    attempt=2,
    token="token",
    body={"greeting": "Hello", "anything": [1, None]},
    labels={"team": "one"},
    failures=(FAILURE,),
    redriven_from="s0",
    agent="sales",
    owner=True,
    sealed="0f1e2d3c.c2VhbGVk",
    traceparent=TRACEPARENT,
)
EVENT: dict[str, Any] = {"session_id": "s1", "attempt": 1}
ACTIVITY: dict[str, Any] = {**EVENT, "ago_s": 0.25, "dropped": 3}
COMMAND: dict[str, Any] = {
    "command_id": "c1",
    "reply_to": "gateway-1",
    "expires_s": 30.0,
    "traceparent": TRACEPARENT,
}
CANDIDATE = IceCandidate(candidate="candidate:1", sdp_mid="0", sdp_m_line_index=0)
MESSAGES: list[Wire] = [
    LAUNCH,
    DeadLetter(launch=LAUNCH, unreadable="{"),
    DeadWebhook(event={"id": "1-0", "type": "running", "session_id": "s1"}, error="the receiver answered 500"),
    RoomNote(session_id="s1", room_name="pf-s1"),
    Drain(runner="host-4711-9f"),
    Queued(
        **EVENT,
        room_url="https://example.daily.co/room",
        transport="daily",
        deadline_s=120.0,
        labels={"team": "one"},
        reason=Reason.BOT_DIED,
        message="killed by SIGKILL",
        redriven_from="s0",
        agent="sales",
    ),
    ColdStart(
        **EVENT, launcher="kubernetes", stage="scheduled", reason="ImagePullBackOff", error="Back-off pulling the image"
    ),
    Starting(**EVENT, runner="runner-1", start="warm"),
    Running(**EVENT, claimed_ago_s=0.25, process_s=0.004),
    Leaving(**EVENT, reason=Reason.LEFT),
    CommandDone(
        **EVENT,
        command_id="c1",
        kind="say",
        outcome=Outcome.FAILED,
        reason=CommandReason.SESSION_OVER,
        message="The session is over: left",
    ),
    Ended(**EVENT, reason=Reason.COMPLETED),
    Failed(**EVENT, reason=Reason.BOT_ERROR, message="ValueError: no"),
    ParticipantJoined(**ACTIVITY, participant_id="p1", name="Ann"),
    ParticipantLeft(**ACTIVITY, participant_id="p1"),
    Speaking(**ACTIVITY, who="user", what="started"),
    Transcript(**ACTIVITY, who="bot", text="Hello"),
    Metrics(**ACTIVITY, values={"ttfb_s": 0.31}, processor="LLM#0", model="small"),
    PipelineError(**ACTIVITY, message="no answer", processor="LLM#0", fatal=True),
    Say(**COMMAND, text="Hello"),
    Message(**COMMAND, text="Hello", mode="immediate", sender_id="u1", sender_name="Ann"),
    Interrupt(**COMMAND),
    Mute(**COMMAND),
    Unmute(**COMMAND),
    Update(
        **COMMAND,
        llm=LlmChange(model="m", system_instruction="Be brief."),
        tts=TtsChange(model="m", voice="f3", language="de"),
        stt=SttChange(model="m", language="de"),
    ),
    AppMessage(**COMMAND, data={"show": [1, None]}),
    Dtmf(**COMMAND, digits="12#"),
    Custom(**COMMAND, data={"any": [1, None]}),
    Leave(**COMMAND),
    Sealed(**COMMAND, kind="say", sealed="0f1e2d3c.c2VhbGVk"),
    Offer(**COMMAND, sdp="v=0", sdp_type="offer", pc_id="pc1", restart_pc=True, request_data={"a": 1}),
    Candidates(**COMMAND, pc_id="pc1", candidates=(CANDIDATE,)),
    Reply(
        command_id="c1",
        outcome=Outcome.FAILED,
        reason=CommandReason.REFUSED,
        message="one client is enough",
        result={"sdp": "v=0"},
    ),
    Presence(
        runner="runner-1",
        host="host",
        pid=7,
        start="warm",
        version="0.1.0",
        state="ready",
        slots=4,
        busy=2,
        free=1,
        running=1,
        error="the bot does not import",
        agents=("", "sales"),
        broken=("sales",),
    ),
]
EACH = pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)


def golden(message: Wire) -> Any:
    path = GOLDEN / f"{type(message).__name__}.json"
    if os.environ.get("PIPEFLEET_WRITE_GOLDEN"):
        path.write_text(json.dumps(json.loads(encode(message)), indent=2) + "\n")
    return json.loads(path.read_text())


def decoder(message: Wire) -> Decoder[Any]:
    """What the services read such a message with."""
    for union in (AnyEvent, AnyActivity, AnyCommand | Sealed):
        if isinstance(message, get_args(union)):
            return Decoder(union)
    return Decoder(type(message))


@EACH
def test_a_message_is_written_as_its_golden_file_has_it(message: Wire) -> None:
    assert json.loads(encode(message)) == golden(message)


@EACH
def test_a_golden_file_is_read_as_its_message(message: Wire) -> None:
    assert decoder(message)({"json": json.dumps(golden(message))}) == message


@EACH
def test_fields_of_a_newer_version_are_ignored(message: Wire) -> None:
    newer = {**golden(message), "v": 2, "a_new_field": {"of": "tomorrow"}}
    assert decoder(message)({"json": json.dumps(newer)}) == msgspec.structs.replace(message, v=2)


@EACH
def test_an_example_shows_every_field(message: Wire) -> None:
    """An example with a default value could hide that the field is not written or not read."""
    for field in msgspec.structs.fields(message):
        if field.name != "v":
            assert field.required or getattr(message, field.name) != field.default, field.name


def test_every_kind_of_message_has_an_example_and_every_file_a_message() -> None:
    def kinds(kind: type[Wire]) -> set[str]:
        below = kind.__subclasses__()
        return set().union(*map(kinds, below)) if below else {kind.__name__}

    examples = {type(message).__name__ for message in MESSAGES}
    assert kinds(Wire) == examples == {path.stem for path in GOLDEN.glob("*.json")}
