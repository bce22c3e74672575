"""Spans that session processes have recorded, on their way from the supervisor to the collector."""

import math
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from services.runner.pipe import Recorded
from shared.tracing import traceparent, traces
from shared.tracing.recorded_spans import span_context
from shared.tracing.span_export import Exporting


def relay(recorded: Recorded) -> None:
    """Send one, as this runner's. What is not a span goes nowhere: a bot can reach for its process's line."""
    recorder = traces.recorder()
    if (
        isinstance(recorder, Exporting)
        and traceparent.valid(recorded.traceparent)
        and recorded.kind in SpanKind.__members__
    ):
        recorder.take(_span(recorded, recorder))


def _span(recorded: Recorded, recorder: Exporting) -> ReadableSpan:
    context = span_context(recorded.traceparent)
    return ReadableSpan(
        recorded.name,
        context,
        _parent(recorded, context),
        recorder.resource,
        _attributes(recorded.attributes),
        [Event(event.name, _attributes(event.attributes), event.at_ns) for event in recorded.events],
        kind=SpanKind[recorded.kind],
        status=Status(StatusCode.ERROR if recorded.error else StatusCode.UNSET),
        start_time=recorded.start_ns,
        end_time=recorded.end_ns,
        instrumentation_scope=InstrumentationScope(recorded.scope),
    )


def _parent(recorded: Recorded, context: SpanContext) -> SpanContext | None:
    named = f"00-{context.trace_id:032x}-{recorded.parent}-01"
    return span_context(named) if traceparent.valid(named) else None


def _attributes(told: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON has no number for has become None on the way."""
    return {name: math.nan if value is None else value for name, value in told.items()}
