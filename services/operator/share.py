"""One operator's share of the launches: those that the group `operators` has given it and that it has not let go.

An operator keeps a launch until a runner has it. It takes the launches of its own agents alone: the cold runners that
it starts have no other bots.
"""

from collections.abc import Sequence

from services.operator.portion import Portion
from shared import agents
from shared.contract import CLAIMS, OVERFLOW, launch_streams
from shared.launches import Launches
from shared.redis.connection import Redis


class Share(Portion):
    """The stream operations of the overflow."""

    def __init__(self, redis: Redis, operator: str, served: Sequence[str] = (agents.DEFAULT,)) -> None:
        super().__init__(redis, operator, OVERFLOW, launch_streams(served))
        self._launches = Launches(redis, served)

    async def _prepare(self) -> None:
        for group in (CLAIMS, OVERFLOW):
            await self._launches.ensure_group(group)
