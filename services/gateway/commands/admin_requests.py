"""What `POST /admin` takes, and the command that it asks for."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta

from services.gateway.errors import Invalid
from services.gateway.join import Url, check_depth
from shared.contract import (
    AnyCommand,
    AppMessage,
    Custom,
    Dtmf,
    Interrupt,
    Leave,
    LlmChange,
    Message,
    Mute,
    Say,
    SttChange,
    TtsChange,
    Unmute,
    Update,
)

Text: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100_000)]
Name: TypeAlias = Annotated[str, Meta(max_length=256)]
Setting: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Digits: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100, extra_json_schema={"pattern": "^[0-9*#]+$"})]
Kind: TypeAlias = Literal[
    "say", "message", "interrupt", "mute", "unmute", "update", "app_message", "dtmf", "custom", "leave"
]

TELEPHONE = frozenset("0123456789*#")
ONE_OF_THREE = "exactly one of this, room_url and all must be given"
_KINDS = """\
say: speak the text; message: put it into the model's context; interrupt: stop speaking; mute: be silent and do not \
listen, until unmute; update: change settings of llm, tts and stt; app_message: data for the clients in the room; \
dtmf: press digits; custom: data for the bot's own handler; leave: leave the room."""


class LlmUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be changed of the language model."""

    model: Setting | None = None
    system_instruction: Text | None = None


class TtsUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be changed of the text to speech."""

    model: Setting | None = None
    voice: Setting | None = None
    language: Setting | None = None


class SttUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be changed of the speech recognition."""

    model: Setting | None = None
    language: Setting | None = None


class AdminRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command to the bot of a session or a room, or to all bots."""

    session_id: str | None = None
    room_url: Url | None = None
    all: Annotated[bool, Meta(description="To the bots of all live sessions.")] = False
    labels: Annotated[
        dict[str, str] | None, Meta(description="With all: only sessions that have every one of these labels.")
    ] = None
    type: Annotated[Kind, Meta(description=_KINDS)] = "message"
    text: Annotated[Text | None, Meta(description="The text of say and message.")] = None
    message: Annotated[Text | None, Meta(description="Another name for text.")] = None
    mode: Annotated[Literal["queued", "immediate"], Meta(description="For message: immediate interrupts the bot.")] = (
        "queued"
    )
    sender_id: Annotated[Name, Meta(description="For message.")] = "system"
    sender_name: Annotated[Name, Meta(description="For message: who is speaking to the model.")] = "System"
    llm: Annotated[LlmUpdate | None, Meta(description="For update.")] = None
    tts: Annotated[TtsUpdate | None, Meta(description="For update.")] = None
    stt: Annotated[SttUpdate | None, Meta(description="For update.")] = None
    data: Annotated[Any, Meta(description="For app_message and custom: any JSON.")] = UNSET
    digits: Annotated[Digits | None, Meta(description="For dtmf: keys of a telephone, 0 to 9, * and #.")] = None
    timestamp: Annotated[Any, Meta(description="Accepted for older callers; it has no effect.")] = None
    expires_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="A command whose turn comes later than this is not delivered."),
    ] = None
    wait: Annotated[
        Annotated[float, Meta(ge=0, le=60)], Meta(description="Seconds to wait for what becomes of the command.")
    ] = 0.0


_TAKES: dict[Kind, tuple[str, ...]] = {
    "say": ("text", "message"),
    "message": ("text", "message", "mode", "sender_id", "sender_name"),
    "interrupt": (),
    "mute": (),
    "unmute": (),
    "update": ("llm", "tts", "stt"),
    "app_message": ("data",),
    "dtmf": ("digits",),
    "custom": ("data",),
    "leave": (),
}
"""The fields of each kind, beside those that all have."""
_OF_ANY = tuple(dict.fromkeys(name for names in _TAKES.values() for name in names))
_UNGIVEN = {field.name: field.default for field in msgspec.structs.fields(AdminRequest)}


def check(data: AdminRequest) -> None:
    """See that what a request has goes together.

    Raises:
        Invalid: its addressee or a field that its kind needs is missing, or there is one too many;
            or `data` is nested too deeply.
    """
    lacks = _lacking(data)
    if (data.session_id is not None) + (data.room_url is not None) + data.all != 1:
        raise Invalid("session_id", ONE_OF_THREE + (f"; and {lacks} for type {data.type}" if lacks else ""))
    if data.labels is not None and not data.all:
        raise Invalid("labels", "can only be given together with all")
    _check_fields(data)
    check_depth("data", data.data)
    if lacks:
        raise Invalid(lacks, f"must be given for type {data.type}")


def _check_fields(data: AdminRequest) -> None:
    for name in _OF_ANY:
        if name not in _TAKES[data.type] and getattr(data, name) != _UNGIVEN[name]:
            raise Invalid(name, f"is not for type {data.type}")
    if data.text is not None and data.message is not None:
        raise Invalid("message", "must not be given together with text, which it is another name for")
    if data.digits is not None and not set(data.digits) <= TELEPHONE:
        raise Invalid("digits", "must be keys of a telephone: 0 to 9, * and #")
    for name in ("llm", "tts", "stt"):
        change = getattr(data, name)
        if change is not None and not any(msgspec.structs.astuple(change)):
            raise Invalid(name, f"has no setting; there are {', '.join(change.__struct_fields__)}")


def _lacking(data: AdminRequest) -> str:
    """The field that is needed and not there; for update, the one that would do as well as others."""
    match data.type:
        case "say" | "message" if not (data.text or data.message):
            return "text" if data.type == "say" else "message"
        case "update" if not (data.llm or data.tts or data.stt):
            return "tts"
        case "app_message" | "custom" if data.data is UNSET:
            return "data"
        case "dtmf" if not data.digits:
            return "digits"
    return ""


def command_of(data: AdminRequest, command_id: str, reply_to: str | None) -> AnyCommand:
    """The command that a request asks for, which was found to be whole."""
    common = {"command_id": command_id, "reply_to": reply_to, "expires_s": data.expires_s}
    kind, own = _COMMANDS[data.type]
    return kind(**common, **own(data))


def _text(data: AdminRequest) -> dict[str, Any]:
    return {"text": data.text or data.message}


def _message(data: AdminRequest) -> dict[str, Any]:
    return _text(data) | {"mode": data.mode, "sender_id": data.sender_id, "sender_name": data.sender_name}


def _changes(data: AdminRequest) -> dict[str, Any]:
    kinds = {"llm": LlmChange, "tts": TtsChange, "stt": SttChange}
    asked = {name: getattr(data, name) for name in kinds}
    return {name: kinds[name](**msgspec.structs.asdict(change)) for name, change in asked.items() if change}


def _data(data: AdminRequest) -> dict[str, Any]:
    return {"data": data.data}


def _digits(data: AdminRequest) -> dict[str, Any]:
    return {"digits": data.digits}


def _nothing(_: AdminRequest) -> dict[str, Any]:
    return {}


_COMMANDS: dict[Kind, tuple[Callable[..., AnyCommand], Callable[[AdminRequest], dict[str, Any]]]] = {
    "say": (Say, _text),
    "message": (Message, _message),
    "interrupt": (Interrupt, _nothing),
    "mute": (Mute, _nothing),
    "unmute": (Unmute, _nothing),
    "update": (Update, _changes),
    "app_message": (AppMessage, _data),
    "dtmf": (Dtmf, _digits),
    "custom": (Custom, _data),
    "leave": (Leave, _nothing),
}
