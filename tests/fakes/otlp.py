"""A collector that takes OTLP over HTTP, in protobuf, as the real ones do, and shows traces as trees."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.processes import free_port


@dataclass(frozen=True)
class Span:
    """One that a service has sent."""

    service: str
    scope: str
    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    failed: bool
    attributes: dict[str, Any]
    events: tuple[str, ...]


@dataclass
class Collector:
    """What has come so far."""

    url: str
    spans: list[Span] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    """The requests' bodies, as they came over the wire."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def env(self) -> dict[str, str]:
        """The variables that lead a service here; it sends at once, for nobody wants to wait."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def named(self, name: str) -> list[Span]:
        """The spans of this name, in the order of their beginnings."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_ns)

    async def until(self, there: Callable[["Collector"], Any], within_s: float = 20.0) -> None:
        """Returns when what has come is enough."""
        try:
            async with asyncio.timeout(within_s):
                while not there(self):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            shown = "\n".join(self.tree(trace_id) for trace_id in {span.trace_id for span in self.spans})
            raise AssertionError(f"not within {within_s} s:\n{shown}") from None

    def tree(self, trace_id: str) -> str:
        """A trace in lines: when each span began and how long it took, in ms, below the span that it is in."""
        spans = sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.start_ns)
        known = {span.span_id for span in spans}
        began_ns = min(span.start_ns for span in spans)

        def lines(parent_id: str, depth: int) -> Iterator[str]:
            for span in spans:
                if span.parent_id == parent_id or (depth == 0 and span.parent_id not in known):
                    at, took = (span.start_ns - began_ns) / 1e6, (span.end_ns - span.start_ns) / 1e6
                    name = "  " * depth + span.name + (" (failed)" if span.failed else "")
                    yield f"{at:9.1f} {took:9.1f}  {name:<44} {span.service}"
                    yield from lines(span.span_id, depth + 1)

        return "\n".join(["    begun      took  ms", *lines("", 0)])

    async def take(self, request: web.Request) -> web.Response:
        """`POST /v1/traces`."""
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if request.content_type != "application/x-protobuf":
            return web.Response(status=415, body=Status(message="only protobuf").SerializeToString())
        self.raw.append(body)
        sent = ExportTraceServiceRequest.FromString(body)
        for of_service in sent.resource_spans:
            service = _dict(of_service.resource.attributes)["service.name"]
            for of_scope in of_service.scope_spans:
                self.spans += [_span(span, service, of_scope.scope.name) for span in of_scope.spans]
        self._changed.set()
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")


def _span(span: trace_pb2.Span, service: str, scope: str) -> Span:
    return Span(
        service=service,
        scope=scope,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        attributes=_dict(span.attributes),
        events=tuple(event.name for event in span.events),
    )


def _dict(attributes: Any) -> dict[str, Any]:
    pairs: list[KeyValue] = list(attributes)
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a port of its own."""
    port = free_port()
    collector = Collector(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield collector
    finally:
        await runner.cleanup()
