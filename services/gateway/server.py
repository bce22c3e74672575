"""Serving until a signal says stop."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn
from litestar import Litestar
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from services.gateway.events.stream import ABORT
from services.gateway.parts import Parts
from services.gateway.request_traces import Traced
from shared.lifecycle import Shutdown, shutdown_signals


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for `shutdown_signals`."""
        yield


class _Connection(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Lets requests break their connection off: closing it waits for a client that reads nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.app_state: dict[str, Any] = {**self.app_state, ABORT: partial(_break_off, transport)}
        super().connection_made(transport)


def _break_off(transport: asyncio.Transport) -> None:
    # Without the linger time of 0 the kernel would keep megabytes for a client that reads nothing.
    sock = transport.get_extra_info("socket")
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def serve(app: Litestar, parts: Parts) -> None:
    """Serve until told to stop; then take no more requests, and give those in hand a while to finish."""
    config = uvicorn.Config(
        Traced(app),
        host=parts.settings.gateway_host,
        port=parts.settings.gateway_port,
        lifespan="on",
        http=_Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(parts.settings.gateway_grace_s),
    )
    server = _Server(config)
    async with shutdown_signals() as shutdown:
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(_stop(server, serving, parts, shutdown))
        await asyncio.wait({serving})
        stopping.cancel()
        await asyncio.wait({stopping})
    if not serving.cancelled():
        serving.result()


async def _stop(server: uvicorn.Server, serving: asyncio.Task[None], parts: Parts, shutdown: Shutdown) -> None:
    await shutdown.asked.wait()
    server.should_exit = True
    parts.feed.stop_waiting()
    await shutdown.insisted.wait()
    server.force_exit = True
    # Since Python 3.12 a closed server waits for its clients, and uvicorn for it.
    serving.cancel()
