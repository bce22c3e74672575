"""What OpenTelemetry records in a session process, Pipecat's own spans among it, on its way to the supervisor.

Nothing here talks to a collector, so there is no thread for it and nothing to wait for at the end. What people say
stays out of traces as it stays out of events, and tokens out of everything.
"""

import asyncio
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from services.runner.allowance import Allowance
from services.runner.loading.bot_source import PIPELINES
from services.runner.logs.bot_logs import without_secrets
from services.runner.pipe import Recorded, RecordedEvent
from shared.tracing import traces
from shared.tracing.recorded_spans import Recorder, context_of, traceparent_of

PER_S = 50.0
AT_ONCE = 300
"""How many spans a session may have: so many per second, and so many at once."""
LONGEST_TEXT = 2_000
"""Characters of an attribute that are told."""
CONVERSATION = "conversation"
"""Pipecat's span of a whole pipeline: besides its id it has what the bot's author has given it."""
_TELLING = re.compile(
    r"(metrics|turn|conversation|audio|error)\..+|gen_ai\.(usage|request|provider|operation|response|token)\..+"
    r"|gen_ai\.output\.type|service\.operation|function_calls\.count|(stt|tts)\.(incomplete|interrupted)"
    r"|voice_id|language|is_final|vad_enabled|stream|tool_count|tools\.count|modalities"
)
"""Attributes of Pipecat's spans that tell nothing of what was said, nor of what the model was told to be."""


def record(*, transcripts: bool) -> None:
    """Record this process's spans, and Pipecat's unless the bot has its own ideas of where they go."""
    provider = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
    provider.add_span_processor(_ToSupervisor(outlet, transcripts=transcripts))
    traces.record_with(Recorder(provider))
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    trace.set_tracer_provider(provider)
    if PIPELINES in sys.modules:
        # A bot that says nothing of tracing has it; one that does has its way.
        defaults = sys.modules[PIPELINES].PipelineWorker.__init__.__kwdefaults__
        defaults["enable_tracing"] = True


def continue_trace(parent: str) -> None:
    """Let what this task does, and the tasks that it starts, be part of the trace."""
    context.attach(context_of(parent))


class Outlet:
    """The way out, from whatever thread. What is recorded before a session has begun goes nowhere."""

    def __init__(self) -> None:
        self._send: Callable[[Recorded], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._allowance = Allowance(PER_S, AT_ONCE)
        self._lock = threading.Lock()

    def open(self, send: Callable[[Recorded], None]) -> None:
        """From now on it leads there; called on the loop that the pipe belongs to."""
        self._send, self._loop, self._thread = send, asyncio.get_running_loop(), threading.get_ident()

    def tell(self, span: Recorded) -> None:
        """Send it, unless there were too many lately."""
        with self._lock:
            allowed = self._allowance.take(time.monotonic())
        if not allowed or self._send is None or self._loop is None:
            return
        if threading.get_ident() == self._thread:
            self._send(span)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._send, span)


outlet = Outlet()
"""This process's."""


class _ToSupervisor(SpanProcessor):
    def __init__(self, to: Outlet, *, transcripts: bool) -> None:
        self._outlet = to
        self._transcripts = transcripts

    def on_end(self, span: ReadableSpan) -> None:
        if span.context and span.context.trace_flags.sampled:
            self._outlet.tell(message_of(span, transcripts=self._transcripts))


def message_of(span: ReadableSpan, *, transcripts: bool) -> Recorded:
    """A span as the supervisor gets it, without what is nobody's business."""
    scope = span.instrumentation_scope.name if span.instrumentation_scope else ""
    all_of_it = transcripts or scope.partition(".")[0] != "pipecat" or span.name == CONVERSATION
    return Recorded(
        name=_text(span.name),
        scope=scope,
        traceparent=traceparent_of(span.context),
        parent=f"{span.parent.span_id:016x}" if span.parent else "",
        kind=span.kind.name,
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
        error=not span.status.is_ok,
        attributes=_told(span.attributes or {}, all_of_it=all_of_it),
        events=tuple(
            RecordedEvent(
                name=_text(event.name),
                at_ns=event.timestamp,
                attributes=_told(event.attributes or {}, all_of_it=all_of_it),
            )
            for event in span.events[:100]
        ),
    )


def _told(attributes: Mapping[str, Any], *, all_of_it: bool) -> dict[str, Any]:
    return {
        name: value if isinstance(value, int | float) else _text(value)
        for name, value in attributes.items()
        if all_of_it or _TELLING.fullmatch(name)
    }


def _text(value: object) -> str:
    # What is no text would be an exception, out of whatever the bot was doing.
    return without_secrets(str(value))[:LONGEST_TEXT].encode("utf-8", "replace").decode()
