"""Sending spans to an OpenTelemetry collector.

The SDK reads the rest of the OTEL_* variables itself: where the collector is, its headers, sampling, sizes. Spans wait
in a queue of bounded length, and one thread sends them: no loop ever waits for a collector.
"""

import logging
import os
import threading
from collections.abc import Sequence

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from shared.process.process_name import beginning_of_name
from shared.tracing.recorded_spans import Recorder

CLOSE_WITHIN_S = 2.0
"""How long the end of a process may wait for its last spans to be taken."""

_log = structlog.get_logger()


class Exporting(Recorder):
    """Records spans of a service, and sends them."""

    def __init__(self, service: str) -> None:
        # It complains of each batch by itself; `_Complaining` says it once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        instance = beginning_of_name(os.getpid()).rstrip("-")
        self.resource = Resource.create(
            {"service.name": f"pipefleet-{service}", "service.namespace": "pipefleet", "service.instance.id": instance}
        )
        """What this service is."""
        self._provider = TracerProvider(resource=self.resource, shutdown_on_exit=False)
        self._sending = BatchSpanProcessor(_Complaining(OTLPSpanExporter(), service))
        self._provider.add_span_processor(self._sending)
        super().__init__(self._provider)

    def take(self, span: ReadableSpan) -> None:
        """Send a span that another process of the service has recorded."""
        self._sending.on_end(span)

    def close(self) -> None:
        """Send what is left; a collector that does not take it in time does not get it."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_WITHIN_S)


class _Complaining(SpanExporter):
    """Says once that the collector is away, and once that it is back."""

    def __init__(self, exporter: SpanExporter, service: str) -> None:
        self._exporter = exporter
        self._log = _log.bind(service=service)  # on the thread that sends, nothing else is bound
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        away = result is not SpanExportResult.SUCCESS
        if away and not self._away:
            self._log.warning("traces_not_sent", spans=len(spans))
        elif self._away and not away:
            self._log.info("traces_sent_again")
        self._away = away
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
