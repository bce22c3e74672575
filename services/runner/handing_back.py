"""A session whose supervisor is gone, or silent up to the fence.

The supervisor was killed, frozen, or cut off from Redis; its lease will go stale, and until then nobody would take the
session. Its own process leaves the room and then puts the next attempt into the queue, in the supervisor's name: this
succeeds only while the lease is still that supervisor's. Mended within a second of the supervisor's death; where Redis
cannot be reached, the lease goes stale instead.
"""

import structlog

from services.runner.pipe import Begin
from services.runner.settings import RunnerSettings
from shared.contract import Failure
from shared.errors import Unavailable
from shared.launches import Claim, EntryId, Launches, after
from shared.redis_connection import connect

log = structlog.get_logger()


async def hand_back(begin: Begin, failure: Failure, settings: RunnerSettings) -> None:
    """Give the session to the queue. The bot has left its room before this is called."""
    redis = connect(settings.redis_url)
    claim = Claim(EntryId(begin.entry), begin.launch)
    try:
        following = after(begin.launch, failure, settings.max_attempts)
        handed_back = await Launches(redis).settle(claim, begin.holder, following)
    except Unavailable as error:
        log.warning("session_not_handed_back", reason=failure.reason, error=str(error))
    else:
        log.warning("session_handed_back" if handed_back else "session_taken_already", reason=failure.reason)
    finally:
        await redis.aclose()
