"""`/healthz` and `/readyz` for services that serve nothing else.

`/healthz` answers as long as the event loop turns; `/readyz` tells whether the service can do its work.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

READ_S = 5.0


@asynccontextmanager
async def health_server(port: int, ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Serve on all interfaces for as long as the context lasts; port 0 serves nothing."""
    if not port:
        yield
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_S):
                path = (await reader.readline()).decode("latin-1").split(" ")[1:2]
                writer.write(_response(path, ready))
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
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()
