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
from shared.contract import CLAIMS, LAUNCH
from shared.errors import Unavailable
from shared.redis.streams import ensure_group
from shared.version import VERSION

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
            version=VERSION,
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
    """Say whether the gateway can do its work: Redis answers, and it writes."""
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            # Changes nothing where the group is there; a server that is full, a replica or unable to save refuses it.
            await ensure_group(parts.redis, LAUNCH, CLAIMS)
    except TimeoutError:
        raise Unavailable("Redis does not answer in time") from None
    return Response(Health())
