"""Spans as OpenTelemetry records them. Only a process that traces imports this."""

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan

from shared.tracing.traces import Kind, Span, Value

SCOPE = "pipefleet"
"""Whose spans these are, beside those of libraries."""
KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class Recorder:
    """Begins spans of a provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer(SCOPE)

    def start(self, name: str, parent: str, kind: Kind, at_ns: int, attributes: Mapping[str, Value]) -> Span:
        """Begin one in this trace, or without a parent in one of its own."""
        context = context_of(parent) if parent else Context()
        span = self._tracer.start_span(name, context, KINDS[kind], attributes=attributes, start_time=at_ns)
        return _Recorded(span, parent)

    def close(self) -> None:
        """Nothing waits here."""


def context_of(parent: str) -> Context:
    """What a span begins in that continues a valid `traceparent`."""
    return set_span_in_context(NonRecordingSpan(span_context(parent)), Context())


def span_context(traceparent: str) -> SpanContext:
    """The span that a valid `traceparent` names."""
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def traceparent_of(context: SpanContext) -> str:
    """The `traceparent` of what continues a span."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


class _Recorded(Span):
    def __init__(self, span: OtelSpan, parent: str) -> None:
        context = span.get_span_context()
        super().__init__(traceparent_of(context) if context.is_valid else parent)
        self._span = span

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def event(self, name: str, **attributes: Value) -> None:
        self._span.add_event(name, attributes)

    def end(self, error: str = "") -> None:
        if not self._span.is_recording():
            return
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
