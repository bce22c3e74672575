"""The trace of a request that changes something: the caller's, or a new one. What it starts is part of it."""

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from shared.tracing import traceparent, traces

UNTRACED = ("GET", "HEAD", "OPTIONS")
"""Looking and listening start nothing."""


class Traced:
    """Around the application, so that also what is refused has its span."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request in its trace."""
        if scope["type"] != ScopeType.HTTP or scope["method"] in UNTRACED:
            await self._app(scope, receive, send)
            return
        method = str(scope["method"])
        about: dict[str, traces.Value] = {"http.request.method": method}
        callers = _callers(scope)
        with (
            traces.start(method, callers, kind="server", attributes=about)
            if callers
            else traces.begin(method, kind="server", attributes=about)
        ) as span:
            traces.enter(span.traceparent)
            structlog.contextvars.bind_contextvars(trace_id=traceparent.trace_id(span.traceparent))
            await self._app(scope, receive, _telling(scope, send, span) if traces.recorded() else send)


def _callers(scope: HTTPScope) -> str:
    """The trace that the request says it is part of; one that is malformed, or named twice, counts as none."""
    named = [value for name, value in scope["headers"] if name == b"traceparent"]
    return traceparent.valid(named[0].decode("latin-1")) if len(named) == 1 else ""


def _telling(scope: HTTPScope, send: Send, span: traces.Span) -> Send:
    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            _describe(scope, message["status"], span)
        await send(message)

    return tell


def _describe(scope: HTTPScope, status: int, span: traces.Span) -> None:
    # The route, as written in the code: a path can name a room.
    if route := scope.get("path_template"):
        span.rename(f"{scope['method']} {route}")
        span.set("http.route", str(route))
    span.set("http.response.status_code", status)
    if status >= 500:
        span.end(str(status))
