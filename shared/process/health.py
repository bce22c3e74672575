"""`/healthz`, `/readyz` and `/metrics` for services that serve nothing else.

`/healthz` answers as long as the event loop turns; `/readyz` tells whether the service can do its work.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

READ_S = 5.0
PLAIN = "text/plain"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
"""The format of metrics that every Prometheus reads."""


@asynccontextmanager
async def health_server(
    port: int, ready: Callable[[], bool], metrics: Callable[[], Awaitable[bytes]] | None = None
) -> AsyncIterator[None]:
    """Serve on all interfaces for as long as the context lasts; port 0 serves nothing."""
    if not port:
        yield
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_S):
                path = (await reader.readline()).decode("latin-1").split(" ")[1:2]
                writer.write(_measured(await metrics()) if metrics and path == ["/metrics"] else _response(path, ready))
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            pass  # a prober that says nothing readable, or is gone, needs no answer
        finally:
            writer.close()

    async with await asyncio.start_server(answer, port=port, limit=4096):
        yield


def _response(path: list[str], ready: Callable[[], bool]) -> bytes:
    match path:
        case ["/healthz"]:
            status, body = "200 OK", "ok"
        case ["/readyz"]:
            status, body = ("200 OK", "ready") if ready() else ("503 Service Unavailable", "not ready")
        case _:
            status, body = "404 Not Found", "try /healthz or /readyz"
    return _answer(status, PLAIN, body.encode())


def _measured(metrics: bytes) -> bytes:
    return _answer("200 OK", METRICS, metrics)


def _answer(status: str, content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    return f"{head}\r\nConnection: close\r\n\r\n".encode() + body
