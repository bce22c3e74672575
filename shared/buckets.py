"""Buckets of tokens in Redis, which fill by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.redis_connection import Redis, translated
from shared.script import Script


@dataclass(frozen=True)
class Rate:
    """So many a second over time, and so many at once."""

    per_s: float
    at_once: int


class Buckets:
    """All of them. A bucket that is full is not there."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._spend = Script(redis, "spend")

    async def spend(self, spent: Sequence[tuple[str, Rate, int]]) -> list[float]:
        """Take so many tokens from each of these, whether they are there or not; gives how many are left of each.

        Below 0 is a debt, which the filling pays.

        Raises:
            Unavailable: Redis does not answer.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for bucket, rate, count in spent:
                await self._spend.queue(pipe, [bucket], [count, round(1e6 / rate.per_s), rate.at_once])
            with translated():
                return [level / 1e6 for level in await pipe.execute()]
