"""The environment, read once, at start, in this file and no other.

A service's settings are a frozen Struct. The field `join_timeout_s` is the variable `JOIN_TIMEOUT`: upper case, without
the unit of seconds. The string under a field says unit and effect. Each can be in a file, such as a mounted secret,
which `JOIN_TIMEOUT_FILE` names then.
"""

import os
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from shared import agents, ice, sealing
from shared.complaints import in_words
from shared.errors import SettingsError
from shared.redis import url


def _ends(text: str) -> None:
    """JSON has no number for a time without end, so no launch could carry it."""
    if "inf" in text.lower():
        raise ValueError(f"expected a number, got {text!r}")


Seconds = Annotated[float, Meta(ge=0), _ends]
Duration = Annotated[float, Meta(gt=0), _ends]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Names = tuple[str, ...]
"""Several values, separated by commas."""
RedisUrl = Annotated[str, url.parse]
"""Text that a function takes without a `ValueError`, whose own text is the complaint: the value may hold a password."""
PayloadKeys = Annotated[str, sealing.parse]
BotList = Annotated[str, agents.parse]
"""Bots by the names of their agents."""


class FleetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service reads, with one meaning everywhere."""

    redis_url: RedisUrl = "redis://127.0.0.1:6379/0"
    """Where the streams are: `redis://`, `rediss://`, `unix://`, or `sentinel://host:26379,host:26379/service/0`."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`json`, or `console` for people; `auto` is the latter on a terminal, and JSON everywhere else."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe line that is written."""
    health_port: Port = 0
    """Port of `/healthz`, `/readyz` and `/metrics` of operator and runner; 0: none."""
    lease_s: Duration = 20.0
    """A launch whose runner was silent for this long is free again."""
    max_attempts: Positive = 3
    """How many bots a session may use up before it is a dead letter."""
    bot: str = ""
    """The bot of sessions that name no agent: path to a Python file, or a module, with `async def bot(runner_args)`."""
    bots: BotList = ""
    """Further bots by the names of their agents: `sales=bots/sales.py,support=acme.support`."""
    otel_exporter_otlp_endpoint: str = ""
    """An OpenTelemetry collector, such as `http://localhost:4318`; the SDK's other variables mean what they do."""
    otel_traces_exporter: Literal["", "otlp", "none"] = ""
    """`otlp` sends traces to the usual place where no endpoint is set, `none` does not send them where one is."""

    @property
    def traces(self) -> bool:
        """Whether traces go to a collector."""
        return self.otel_traces_exporter == "otlp" or bool(
            self.otel_exporter_otlp_endpoint and not self.otel_traces_exporter
        )

    @property
    def agents(self) -> tuple[str, ...]:
        """The fleet's agents. The default one has the empty name; without BOT, BOTS leave none."""
        named = tuple(agents.parse(self.bots))
        return named if named and not self.bot else (agents.DEFAULT, *named)


class SessionSettings(FleetSettings, frozen=True, kw_only=True):
    """What those who give sessions their time read."""

    max_duration_s: Duration = 4 * 3600.0
    """The longest a session may last; a request may ask for less."""


class LaunchSettings(SessionSettings, frozen=True, kw_only=True):
    """What those who make launches read, and those who hold bots to them."""

    launch_deadline_s: Duration = 120.0
    """How long a session may wait for a runner, where the request does not say."""
    join_timeout_s: Duration = 30.0
    """How long a bot may take to be in its room, and a WebRTC client to make its offer."""
    payload_keys: PayloadKeys = ""
    """Keys that seal tokens, bodies and commands in Redis; the first one seals, each opens."""
    daily_api_key: str | None = None
    """Makes and removes the rooms of `createDailyRoom` on the gateway; mints the bot's own token on the runner."""
    daily_api_url: str = "https://api.daily.co/v1"
    """Daily's REST API."""
    ice_servers: Names = ()
    """STUN and TURN URLs, as they are reached from here: for clients that ask at `/start`, and for bots."""
    turn_secret: str = ""
    """The secret of the TURN servers (coturn's `static-auth-secret`), from which each session gets a credential."""

    def __post_init__(self) -> None:
        """Refuse servers with which no call can be made.

        Raises:
            ValueError: one has no URL that we know, or is a TURN server without a secret.
        """
        ice.check(self.ice_servers, self.turn_secret)

    def ice_servers_of(self, session_id: str, now: float) -> list[ice.IceServer]:
        """What one end of a session's call uses; good for the longest that a session can take from now on."""
        longest_s = self.launch_deadline_s + self.join_timeout_s + self.max_duration_s
        return ice.ice_servers(self.ice_servers, self.turn_secret, session_id, now + longest_s)


FROM_FILE = "_FILE"
"""After a variable's name: the variable that names a file with its value."""

S = TypeVar("S", bound=msgspec.Struct)


def variable(field: str) -> str:
    """The environment variable of a settings field."""
    return field.removesuffix("_s").upper()


def load(kind: type[S], environ: Mapping[str, str] = os.environ) -> S:
    """Read `kind` from the environment, and from the files that it names; an empty variable counts as unset.

    Raises:
        SettingsError: naming every variable that is missing or has a bad value, and what was expected of it.
    """
    hints = get_type_hints(kind, include_extras=True)
    values: dict[str, object] = {}
    complaints: list[str] = []
    for field in msgspec.structs.fields(kind):
        name = variable(field.name)
        try:
            text, shown = _given(name, environ)
            if not text:
                if field.required:
                    complaints.append(f"{name}: is not set")
                continue
            values[field.name] = _parse(text, hints[field.name])
        except msgspec.ValidationError as error:
            complaints.append(f"{name}: {_sentence(error)}, got {shown}")
        except ValueError as error:
            complaints.append(f"{name}: {error}")
    if complaints:
        raise SettingsError("\n".join(complaints))
    try:
        return kind(**values)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _given(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """A variable's value, from the environment or without the line's end from its file; and how it is shown.

    Raises:
        ValueError: the file cannot be read or has nothing in it, or the variable itself is set, too.
    """
    text = environ.get(name, "").strip()
    file = environ.get(f"{name}{FROM_FILE}", "").strip()
    if not file:
        return text, repr(text)
    if text:
        raise ValueError(f"is set, and so is {name}{FROM_FILE}: one of them is enough")
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{name}{FROM_FILE} names {file}, which cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name}{FROM_FILE} names {file}, which is no text in UTF-8") from None
    if not text:
        raise ValueError(f"{name}{FROM_FILE} names {file}, which is empty")
    # What was meant for another variable may be a secret.
    return text, f"what is in {file}"


def inherited(**changes: str | None) -> dict[str, str]:
    """This process's environment for a child of it: some variables changed, and those that are None left out.

    A file that one of them was in is left out, too.
    """
    environ = {**os.environ, **{f"{name}{FROM_FILE}": None for name in changes}, **changes}
    return {name: value for name, value in environ.items() if value is not None}


def _parse(text: str, kind: object) -> object:
    if get_origin(kind) is tuple:
        if not (parts := tuple(part.strip() for part in text.split(",") if part.strip())):
            raise msgspec.ValidationError("Expected values separated by commas")
        return parts
    if get_origin(kind) in {Union, types.UnionType} and str in get_args(kind):
        return text
    if kind is bool:
        return _one_of(text, ("0", "1", "true", "false")) in {"1", "true"}
    if get_origin(kind) is Literal:
        return _one_of(text, get_args(kind))
    for check in getattr(kind, "__metadata__", ()):
        if callable(check):
            check(text)
    return msgspec.convert(text, kind, strict=False)


def _one_of(text: str, choices: tuple[str, ...]) -> str:
    """The choice that the text names, in whatever case."""
    for choice in choices:
        if choice.lower() == text.lower():
            return choice
    raise msgspec.ValidationError(f"Expected one of {', '.join(choices)}")


def _sentence(error: msgspec.ValidationError) -> str:
    text = in_words(str(error).removesuffix(", got `str`"))
    return text[:1].lower() + text[1:]
