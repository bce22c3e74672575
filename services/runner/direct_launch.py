"""`RUNNER_AUTO_START=1` with `DAILY_ROOM_URL`: this runner, exactly that room, at once.

The session is like any other to the rest of the fleet: it has the room to itself, is listed, takes commands. It is
accepted and claimed in one step. Launches that wait come first, for a group hands them out in order; so this waits
until there are none, up to the launch's deadline.
"""

import asyncio
import time
import uuid

import structlog

from services.runner.live_session import Runner
from services.runner.trouble import Trouble
from shared.contract import Launch
from shared.errors import Unavailable
from shared.launches import Claim
from shared.process.lifecycle import Shutdown
from shared.rooms import canonical
from shared.tracing import traceparent

log = structlog.get_logger()

AGAIN_AFTER_S = 0.2


async def adopt(runner: Runner, shutdown: Shutdown) -> Claim | None:
    """The claim of this runner's own launch. None, with the reason in the log, when it is not to be had."""
    settings = runner.settings
    launch = Launch(
        session_id=str(uuid.uuid4()),
        room_url=canonical(settings.daily_room_url or ""),
        transport="daily",
        token=settings.daily_token,
        deadline_s=settings.launch_deadline_s,
        max_duration_s=settings.max_duration_s,
        traceparent=traceparent.fresh(),
    )
    away = Trouble("redis_away", "redis_back")
    give_up_at = time.monotonic() + settings.launch_deadline_s
    while time.monotonic() < give_up_at and not shutdown.asked.is_set():
        try:
            adopted = await runner.launches.adopt(launch, runner.name)
        except Unavailable as error:
            away.failed(time.monotonic(), error=str(error))
            adopted = None
        if isinstance(adopted, Claim):
            return adopted
        if adopted is not None:
            log.error("room_taken", room_url=launch.room_url, by_session=adopted)
            return None
        await asyncio.sleep(AGAIN_AFTER_S)
    log.error(
        "room_not_launched", room_url=launch.room_url, why="other launches waited, or Redis was away, for too long"
    )
    return None
