"""The one way to reach Redis."""

import asyncio
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ClusterDownError, OutOfMemoryError, ReadOnlyError, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import Unavailable

BLOCK_S = 2.0
"""How long a blocking read waits before it looks around; well under the time a server has to answer."""
ANSWER_S = 6.0
"""A server that has not answered for this long counts as away."""
CONNECTIONS = 64
"""How many connections one client opens at most."""

NOT_NOW = (OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError)
"""Answers of a server that may do the same thing later; these two have no class of their own:"""
NOT_NOW_TEXTS = ("MISCONF", "NOREPLICAS")

Redis = redis.Redis


def connect(url: str, *, answer_s: float = ANSWER_S, retries: int = 1) -> Redis:
    """A client for `url`. Nothing is connected until the first call.

    A command whose connection broke is tried again on a new one, `retries` times; the scripts are safe to repeat. More
    calls at once than there are connections wait for one. `answer_s` below `BLOCK_S` is for clients that never block.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=answer_s,
        decode_responses=True,
        protocol=2,
        socket_connect_timeout=answer_s,
        socket_timeout=answer_s,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    pool.connection_class = _PROMPT[pool.connection_class]
    return redis.Redis.from_pool(pool)


class _PromptSend(AbstractConnection):
    """Bounds a send by `asyncio.timeout`.

    redis-py does it by `asyncio.wait_for`, which on Python 3.11 loses a cancellation that arrives as the send
    completes: the cancelled task would go on for ever.
    """

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        limit_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit_s):
                await super().send_packed_command(command, check_health)
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = limit_s


class _Tcp(_PromptSend, redis.Connection):
    pass


class _Tls(_PromptSend, redis.SSLConnection):
    pass


class _Unix(_PromptSend, redis.UnixDomainSocketConnection):
    pass


_PROMPT: dict[type[AbstractConnection], type[AbstractConnection]] = {
    redis.Connection: _Tcp,
    redis.SSLConnection: _Tls,
    redis.UnixDomainSocketConnection: _Unix,
}


@contextmanager
def translated() -> Iterator[None]:
    """Turn the many ways to say that a server does not answer, or does not write for now, into one.

    Raises:
        Unavailable: the server is away, starting, full, cannot persist, or has become a replica.
    """
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError) as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    except ResponseError as error:
        if isinstance(error, NOT_NOW) or str(error).startswith(NOT_NOW_TEXTS):
            raise Unavailable(f"Redis does not write: {error}") from error
        raise


def backoff_s(tries: int) -> float:
    """How long to wait before asking a server again that did not answer: ever longer up to 2 s, never all at once."""
    longest_s: float = min(0.1 * 2 ** min(tries, 10), 2.0)
    return random.uniform(0.5, 1.0) * longest_s  # noqa: S311 - jitter is no secret
