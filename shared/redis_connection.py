"""The one way to reach Redis."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import Unavailable

BLOCK_S = 2.0
"""How long a blocking read waits before it looks around; well under the time a server has to answer."""
ANSWER_S = 6.0
"""A server that has not answered for this long counts as away."""

Redis = redis.Redis


def connect(url: str) -> Redis:
    """A client for `url`. Nothing is connected until the first call.

    A command whose connection broke is tried once more on a new one; the scripts are safe to repeat.
    """
    return redis.from_url(
        url,
        decode_responses=True,
        protocol=2,
        socket_connect_timeout=ANSWER_S,
        socket_timeout=ANSWER_S,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 1),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn redis-py's ways to say that the server does not answer into one.

    Raises:
        Unavailable: the server is away, starting, or has become a replica.
    """
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, ReadOnlyError) as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
