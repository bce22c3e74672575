"""What goes on in sessions' calls: participants, speech, measurements, complaints. Beside state, and never state.

It has streams of its own, so that no flood of it pushes a change of state out of the feed.
"""

from collections.abc import Sequence

from shared import contract
from shared.contract import ACTIVITY, ACTIVITY_KEPT, CLAIMS, SESSION_ACTIVITY_KEPT, SESSION_KEPT_S, AnyActivity, Launch
from shared.launches import Claim
from shared.redis.connection import Redis
from shared.redis.entries import encode
from shared.script import Script


class ActivityLog:
    """Writes it for whoever holds the session's lease."""

    def __init__(self, redis: Redis) -> None:
        self._happen = Script(redis, "happen")

    async def write(self, claim: Claim, holder: str, activity: Sequence[AnyActivity]) -> bool:
        """Add these, in this order. False: the lease is lost, nothing was written.

        Raises:
            Unavailable: Redis does not answer.
        """
        args: list[str | int] = [CLAIMS, claim.entry, holder, ACTIVITY_KEPT, SESSION_ACTIVITY_KEPT, SESSION_KEPT_S]
        return bool(await self._happen(_keys(claim.launch), [*args, *map(encode, activity)]))


def _keys(launch: Launch) -> list[str]:
    return [contract.launch_stream(launch.agent, launch.attempt), ACTIVITY, contract.activity_key(launch.session_id)]
