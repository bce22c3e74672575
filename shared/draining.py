"""Asking one runner to drain: what it has claimed goes on to its end, and it claims nothing more.

The order stands in a stream of that runner's own until long after it can be of use, so it is found however late the
runner looks, and as often as it likes.
"""

from shared.contract import DRAIN_KEPT_S, FIELD, Drain, drain_key
from shared.redis.connection import Redis, translated
from shared.redis.entries import encode


async def order(redis: Redis, runner: str) -> None:
    """Leave the order for a runner; a second one changes nothing.

    Raises:
        Unavailable: Redis does not answer.
    """
    key = drain_key(runner)
    async with redis.pipeline(transaction=True) as pipe:
        pipe.xadd(key, {FIELD: encode(Drain(runner=runner))}, maxlen=1, approximate=False)
        pipe.expire(key, DRAIN_KEPT_S)
        with translated():
            await pipe.execute()


async def ordered(redis: Redis, runner: str) -> bool:
    """Whether this runner is to drain.

    Raises:
        Unavailable: Redis does not answer.
    """
    with translated():
        return bool(await redis.xlen(drain_key(runner)))
