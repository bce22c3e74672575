"""Spans: told to a collector where the standard OTEL_* variables name one, and nowhere else.

Without a collector nothing of OpenTelemetry is imported, and a span is only a carrier: what begins in it has the trace
that it was begun with. So callers need not know whether anybody records.

The attributes of a span are for everybody who may look at traces: no token, no `body`, no room, no key.
"""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

from shared.settings import FleetSettings
from shared.tracing import traceparent

Kind: TypeAlias = Literal["internal", "server", "producer", "consumer"]
Value: TypeAlias = str | int | float | bool

ATTEMPT = "pipefleet.attempt"
REASON = "pipefleet.reason"
SESSION = "session.id"
COMMAND = "pipefleet.command"
OUTCOME = "pipefleet.outcome"
"""Attributes of our own, and the usual name for a session's."""


class Span:
    """A span that nobody records. As a context it ends with its block, in error if that raises."""

    def __init__(self, parent: str) -> None:
        self.traceparent = parent
        """What goes along with whatever continues this."""

    def set(self, name: str, value: Value) -> None:
        """Give it an attribute."""

    def rename(self, name: str) -> None:
        """Call it otherwise than it was begun."""

    def event(self, name: str, **attributes: Value) -> None:
        """Something happened in it, now."""

    def end(self, error: str = "") -> None:
        """It is over now; with `error`, a word for why it came to nothing. Later ends do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The type alone: the text may repeat what was asked for.
        self.end(kind.__name__ if kind else "")


class Recorder(Protocol):
    """What records spans."""

    def start(self, name: str, parent: str, kind: Kind, at_ns: int, attributes: Mapping[str, Value]) -> Span:
        """Begin one at this time of the wall clock: in this trace, or without a parent in one of its own."""

    def close(self) -> None:
        """Tell what was not told yet, within a bounded time, and record nothing more."""


_recorder: Recorder | None = None
_current: ContextVar[str] = ContextVar("traceparent", default="")


def setup(service: str, settings: FleetSettings) -> None:
    """Have this process's spans recorded, if its settings name a collector."""
    if settings.traces:
        from shared.tracing.span_export import Exporting  # noqa: PLC0415 - who has no collector does not pay for it

        record_with(Exporting(service))


def record_with(recorder: Recorder) -> None:
    """Have this process's spans recorded so."""
    global _recorder  # noqa: PLW0603 - as with logs, a process has one
    _recorder = recorder


def close() -> None:
    """Tell what is left, at the end of the process."""
    if _recorder:
        _recorder.close()


def recorder() -> Recorder | None:
    """What records spans here."""
    return _recorder


def recorded() -> bool:
    """Whether anybody records spans here."""
    return _recorder is not None


def start(
    name: str,
    parent: str,
    *,
    kind: Kind = "internal",
    at_ns: int | None = None,
    attributes: Mapping[str, Value] | None = None,
) -> Span:
    """Begin a span, now or at a time of the wall clock that is past.

    Without a parent there is no trace that it could be part of, and nothing is recorded.
    """
    if _recorder is None or not (parent := traceparent.valid(parent)):
        return Span(parent)
    return _recorder.start(name, parent, kind, time.time_ns() if at_ns is None else at_ns, attributes or {})


def begin(name: str, *, kind: Kind = "internal", attributes: Mapping[str, Value] | None = None) -> Span:
    """Begin a trace, with a first span that is recorded if any is."""
    if _recorder is None:
        return Span(traceparent.fresh())
    return _recorder.start(name, "", kind, time.time_ns(), attributes or {})


def publishing(operation: str, stream: str, parent: str, session_id: str) -> Span:
    """A span in which something for a session is written to a stream."""
    if _recorder is None:
        return Span(traceparent.valid(parent))
    about = messaging(operation, stream, session_id)
    return start(
        f"{operation} {stream}", parent, kind="producer", attributes={**about, "messaging.operation.type": "send"}
    )


def messaging(operation: str, stream: str, session_id: str) -> dict[str, Value]:
    """What is told of something on its way through a stream, in the words of the semantic conventions."""
    return {
        "messaging.system": "redis",
        "messaging.operation.name": operation,
        "messaging.destination.name": stream,
        SESSION: session_id,
    }


def current() -> str:
    """The trace of the request in hand; empty outside of any."""
    return _current.get()


def enter(parent: str) -> None:
    """Let this be the trace of the request in hand, for the rest of this task."""
    _current.set(parent)
