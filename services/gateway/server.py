"""Serving until a signal says stop."""

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from litestar import Litestar

from services.gateway.access.connections import Connection, OnceASecond, give_up_overdue
from services.gateway.pages import headers
from services.gateway.parts import Parts
from services.gateway.request_traces import Traced
from shared.process.lifecycle import Shutdown, shutdown_signals

_log = structlog.get_logger()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are for `shutdown_signals`."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """From its end on there are answers."""
        await super().startup(sockets)
        if self.started:
            _log.info("gateway_started", host=self.config.host, port=self.config.port)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if counter % 10 == 0:
            give_up_overdue(self.server_state, time.monotonic())
        return await super().on_tick(counter)


async def serve(app: Litestar, parts: Parts) -> None:
    """Serve until told to stop; then take no more requests, and give those in hand a while to finish."""
    config = uvicorn.Config(
        Traced(app),
        host=parts.settings.gateway_host,
        port=parts.settings.gateway_port,
        lifespan="on",
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here depends on who asks or by which scheme
        headers=headers.EVERYWHERE,
        timeout_graceful_shutdown=int(parts.settings.gateway_grace_s),
    )
    told = logging.getLogger("uvicorn.error")
    told.addFilter(OnceASecond())
    told.setLevel(logging.WARNING)  # of its eight lines about start and stop we have three
    server = _Server(config)
    async with shutdown_signals() as shutdown:
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(_stop(server, serving, parts, shutdown))
        await asyncio.wait({serving})
        stopping.cancel()
        await asyncio.wait({stopping})
    if not serving.cancelled():
        serving.result()
    _log.info("gateway_stopped")


async def _stop(server: uvicorn.Server, serving: asyncio.Task[None], parts: Parts, shutdown: Shutdown) -> None:
    await shutdown.asked.wait()
    _log.info("gateway_stopping", grace_s=parts.settings.gateway_grace_s)
    server.should_exit = True
    parts.feed.stop_waiting()
    await shutdown.insisted.wait()
    server.force_exit = True
    # Since Python 3.12 a closed server waits for its clients, and uvicorn for it.
    serving.cancel()
