"""`GET /fleet`: runners, slots and queue; and whether this gateway can do its work."""

import asyncio
from typing import Literal

import msgspec
from litestar import Response, get

from services.gateway.access.auth import PROBE
from services.gateway.documentation import documented
from services.gateway.errors import Away
from services.gateway.fleet.view import FleetView, RunnerView, look
from services.gateway.parts import Injected
from shared.errors import Unavailable
from shared.redis.connection import translated

READY_WITHIN_S = 1.0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """It answers."""

    status: Literal["ok"] = "ok"


_EXAMPLE = FleetView(
    slots=4,
    busy=1,
    free=3,
    queued=0,
    running=1,
    runners=[
        RunnerView(
            runner="host-4711-9f",
            slots=4,
            busy=1,
            free=3,
            running=1,
            pid=4711,
            host="host",
            start="warm",
            state="ready",
            version="0.1.0",
            error="",
            agents=("", "sales"),
        )
    ],
)


@get("/fleet", tags=["fleet"], **documented({200: _EXAMPLE}, Away()))
async def fleet(parts: Injected) -> FleetView:
    """Show the runners that live, and how much there is to do."""
    return await look(parts.redis, parts.launches)


@get("/healthz", sync_to_thread=False, tags=["health"], **documented({200: Health()}, access=PROBE))
def healthz() -> Health:
    """Say that the process is alive."""
    return Health()


@get("/readyz", tags=["health"], **documented({200: Health()}, Away(), access=PROBE))
async def readyz(parts: Injected) -> Response[Health]:
    """Say whether the gateway can do its work: Redis answers."""
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            with translated():
                await parts.redis.ping()
    except TimeoutError:
        raise Unavailable("Redis does not answer in time") from None
    return Response(Health())
