"""`POST /fleet/{runner}/drain`: one runner finishes what it has, and exits."""

import msgspec
import structlog
from litestar import post
from litestar.params import FromPath

from services.gateway.documentation import documented
from services.gateway.errors import Away, NotFound
from services.gateway.parts import Injected
from shared import draining
from shared.presence import present

NO_RUNNER = "There is no such runner."

_log = structlog.get_logger()


class DrainReply(msgspec.Struct, frozen=True, kw_only=True):
    """The runner has been told; `state` and `busy` are what it last said of itself."""

    runner: str
    state: str
    busy: int
    """How many sessions it goes on with to their end."""


@post(
    "/fleet/{runner:str}/drain",
    status_code=202,
    tags=["fleet"],
    **documented(
        {202: DrainReply(runner="host-4711-9f", state="ready", busy=1)},
        NotFound(NO_RUNNER),
        Away(),
    ),
)
async def drain(runner: FromPath[str], parts: Injected) -> DrainReply:
    """Make a runner claim nothing more, finish its sessions, and exit. To ask twice is the same as once."""
    found = next((one for one in await present(parts.redis) if one.runner == runner), None)
    if found is None:
        raise NotFound(NO_RUNNER)
    await draining.order(parts.redis, runner)
    _log.info("runner_told_to_drain", runner=runner, busy=found.busy)
    return DrainReply(runner=runner, state=found.state, busy=found.busy)
