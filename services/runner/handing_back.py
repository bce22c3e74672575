"""A session whose supervisor is gone, or silent up to the fence.

The supervisor was killed, frozen, or cut off from Redis; its lease will go stale, and until then nobody would take the
session. Its own process leaves the room and then writes what follows, in the supervisor's name: the next attempt, or
the end if the bot was done or told to leave. This succeeds only while the lease is still that supervisor's. Mended
within a second of the supervisor's death; where Redis cannot be reached, the lease goes stale instead.
"""

import structlog

from services.runner.pipe import Begin
from services.runner.settings import RunnerSettings
from shared.contract import Ended, Failed, Launch, Reason
from shared.errors import Unavailable
from shared.launches import Claim, EntryId, Launches
from shared.redis.connection import connect

log = structlog.get_logger()


async def hand_back(begin: Begin, following: Launch | Ended | Failed, reason: Reason, settings: RunnerSettings) -> None:
    """Write what follows the attempt. The bot has left its room before this is called."""
    redis = connect(settings.redis_url)
    claim = Claim(EntryId(begin.entry), begin.launch)
    try:
        handed_back = await Launches(redis).settle(claim, begin.holder, following)
    except Unavailable as error:
        log.warning("session_not_handed_back", reason=reason, error=str(error))
    else:
        log.warning("session_handed_back" if handed_back else "session_taken_already", reason=reason)
    finally:
        await redis.aclose()
