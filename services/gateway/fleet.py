"""`GET /fleet`: runners, slots and queue; and whether this gateway can do its work."""

import asyncio
from typing import Literal

import msgspec
from litestar import Response, get

from services.gateway.auth import PROBE
from services.gateway.documentation import documented
from services.gateway.errors import Away
from services.gateway.parts import Injected
from shared.contract import Presence, Start
from shared.errors import Unavailable
from shared.presence import present
from shared.redis_connection import translated

READY_WITHIN_S = 1.0


class RunnerView(msgspec.Struct, frozen=True, kw_only=True):
    """One runner, as it last said of itself."""

    runner: str
    slots: int
    busy: int
    free: int
    running: int
    pid: int
    host: str
    start: Start
    state: str
    version: str
    error: str
    """Which bots cannot run there, and why; empty when all can."""
    agents: tuple[str, ...]
    """Whose sessions it takes; the default agent has the empty name."""


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at this moment."""

    slots: int
    busy: int
    """Slots that have a session."""
    free: int
    """Slots that would take one at once."""
    queued: int
    """Sessions that no runner has yet."""
    running: int
    """Bots that are in their rooms."""
    runners: list[RunnerView]


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
    runners, queued = await asyncio.gather(present(parts.redis), parts.launches.depth())
    return FleetView(
        slots=sum(runner.slots for runner in runners),
        busy=sum(runner.busy for runner in runners),
        free=sum(runner.free for runner in runners),
        queued=queued,
        running=sum(runner.running for runner in runners),
        runners=[_view(runner) for runner in runners],
    )


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


def _view(runner: Presence) -> RunnerView:
    return RunnerView(
        runner=runner.runner,
        slots=runner.slots,
        busy=runner.busy,
        free=runner.free,
        running=runner.running,
        pid=runner.pid,
        host=runner.host,
        start=runner.start,
        state=runner.state,
        version=runner.version,
        error=runner.error,
        agents=runner.agents,
    )
