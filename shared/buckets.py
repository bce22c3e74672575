"""Buckets of tokens in Redis, which fill by themselves."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from shared.redis.coalesced import Coalesced
from shared.redis.connection import Redis


@dataclass(frozen=True)
class Rate:
    """So many a second over time, and so many at once."""

    per_s: float
    at_once: int


class Buckets:
    """All of them. A bucket that is full is not there."""

    def __init__(self, redis: Redis) -> None:
        self._spend = Coalesced(redis, "spend")

    async def spend(self, spent: Sequence[tuple[str, Rate, int]]) -> list[float]:
        """Take so many tokens from each of these, whether they are there or not; gives how many are left of each.

        Below 0 is a debt, which the filling pays.

        Raises:
            Unavailable: Redis does not answer.
        """
        calls = [self._spend([bucket], [count, round(1e6 / rate.per_s), rate.at_once]) for bucket, rate, count in spent]
        levels = []
        for level in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(level, BaseException):
                raise level
            levels.append(level / 1e6)
        return levels
