"""Which launches a runner takes: with a bot that does not import, a bad deploy must not cost calls."""

from collections.abc import Iterable

import structlog

from services.runner.slots import Slots
from shared.claims import Claims
from shared.contract import Presence
from shared.launches import Claim
from shared.presence import present
from shared.redis.connection import BLOCK_S, Redis

log = structlog.get_logger()

LOOK_AROUND_S = 1.0
"""How often a runner with a bot that does not import looks for others where it does."""


class Claiming:
    """The claims of one runner, called `name`, that has these agents."""

    def __init__(self, claims: Claims, slots: Slots, redis: Redis, name: str, agents: tuple[str, ...]) -> None:
        self._claims = claims
        self._slots = slots
        self._redis = redis
        self._name = name
        self._agents = agents
        self.taken = agents
        """Whose launches it takes."""

    @property
    def stands_back(self) -> bool:
        """Whether it leaves launches to others."""
        return self.taken != self._agents

    async def next(self, wait_s: float = BLOCK_S) -> Claim | None:
        """As `Claims.next`, of the launches that are for this runner to take.

        Raises:
            Unavailable: Redis does not answer.
        """
        if broken := self._slots.broken:
            others = [one for one in await present(self._redis) if one.runner != self._name]
            self._take(takes(self._agents, broken, others))
            wait_s = min(wait_s, LOOK_AROUND_S)
        else:
            self._take(self._agents)
        return await self._claims.next(wait_s)

    def _take(self, agents: tuple[str, ...]) -> None:
        if agents == self.taken:
            return
        self.taken = agents
        self._claims.serve(agents)
        self._slots.changed.set()
        if self.stands_back:
            log.warning("standing_back", error=self._slots.error)


def takes(agents: tuple[str, ...], broken: frozenset[str], others: Iterable[Presence]) -> tuple[str, ...]:
    """Those of a runner's agents whose launches it takes, given which are broken there, and who else is present.

    The launch of a broken one is left to whoever can serve it, however long that takes. Where nobody can, it is taken
    and fails at once, with the reason.
    """
    able = {agent for one in others if one.takes_launches for agent in one.agents if agent not in one.broken}
    return tuple(agent for agent in agents if agent not in broken or agent not in able)
