"""Every agent that a launch was ever offered for, or that anybody ever served: also one that is no more."""

from collections.abc import Iterable

from shared.agents import DEFAULT, NAME
from shared.contract import AGENTS
from shared.redis.connection import Redis, translated


async def read(redis: Redis) -> tuple[str, ...]:
    """All of them, the default agent first.

    Raises:
        Unavailable: Redis does not answer.
    """
    with translated():
        return (DEFAULT, *sorted(filter(NAME.fullmatch, map(str, await redis.smembers(AGENTS)))))


async def note(redis: Redis, agents: Iterable[str]) -> None:
    """Make agents known before anybody serves them.

    Raises:
        Unavailable: Redis does not answer.
    """
    if names := [agent for agent in agents if agent != DEFAULT]:
        with translated():
            await redis.sadd(AGENTS, *names)
