"""The one way to reach Redis."""

import asyncio
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TypeAlias

import redis.asyncio as redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import Unavailable
from shared.redis.url import Node, RedisAddress, parse

BLOCK_S = 2.0
"""How long a blocking read waits before it looks around; well under the time a server has to answer."""
ANSWER_S = 6.0
"""A server that has not answered for this long counts as away."""
SENTINEL_ANSWER_S = 0.5
"""The same for a sentinel, which has little to do; the next one is asked."""
NOT_UTF8 = "backslashreplace"
"""What stands in a stream and is no UTF-8 can be read, but never as JSON, which knows no such escapes."""
CONNECTIONS = 64
"""How many connections one client opens at most."""
CONNECTION_WAIT_S = 30.0
"""How long a call waits for one of them while all are in use. That says that this process is busy, not that the server
is away, so it is much longer than the server has to answer."""

NOT_NOW = (OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError)
"""Answers of a server that may do the same thing later; these have no class of their own:"""
NOT_NOW_TEXTS = ("MISCONF", "NOREPLICAS", "UNBLOCKED force unblock", "BUSY Redis")

Redis = redis.Redis

FailedBy: TypeAlias = Literal["connection", "timeout", "refusal"]
"""The server cannot be reached; it does not answer; it answers that it does not write for now."""


class Observer(Protocol):
    """Who counts what this process asks of Redis."""

    def answered(self, after_s: float) -> None:
        """The server has answered what was sent, or the first command of it, after this time."""

    def failed(self, by: FailedBy) -> None:
        """A call came to nothing, however often it was tried."""


observer: Observer | None = None
"""The one that this process has; without one nothing is measured."""


def connect(url: str, *, answer_s: float = ANSWER_S, retries: int = 1) -> Redis:
    """A client for `url`, in any of the forms of `shared.redis.url`. Nothing is connected until the first call.

    Behind Sentinel every connection leads to the primary of its moment. Of a Redis Cluster, the URL names the node with
    the slot of `{bot}`, where all keys are: the client follows no slot that moves.

    A command whose connection broke is tried again on a new one, `retries` times; the scripts are safe to repeat. More
    calls at once than there are connections wait for one. `answer_s` below `BLOCK_S` is for clients that never block.

    Raises:
        ValueError: the URL has none of the forms.
    """
    kind, options = _place(parse(url))
    pool = redis.BlockingConnectionPool(
        connection_class=kind,
        max_connections=CONNECTIONS,
        timeout=CONNECTION_WAIT_S,
        decode_responses=True,
        encoding_errors=NOT_UTF8,
        protocol=2,
        driver_info=None,  # a command that Redis 7.0 lacks, so that no list of what a user may do could name it
        socket_connect_timeout=answer_s,
        socket_timeout=answer_s,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        **options,
    )
    return redis.Redis.from_pool(pool)


def _place(address: RedisAddress) -> tuple[type[AbstractConnection], dict[str, Any]]:
    """The kind of connection that leads to an address, and its arguments."""
    if address.path:
        return _Unix, {"path": address.path, **address.options}
    kind = _Tls if address.tls else _Tcp
    if address.service:
        sentinels = _Sentinels(kind, address)
        return (_WatchedTls if address.tls else _WatchedTcp), {"sentinels": sentinels, **address.options}
    host, port = address.nodes[0]
    return kind, {"host": host, "port": port, **address.options}


class _Timed(AbstractConnection):
    """Tells the observer how long each round trip took, but not of reads that wait for something to be written."""

    _waits = False
    _sent_at: float | None = None

    def pack_command(self, *args: Any) -> list[bytes]:
        self._waits = b"BLOCK" in args
        packed: list[bytes] = super().pack_command(*args)
        return packed

    def _sending(self, *, waits: bool) -> None:
        self._sent_at = time.perf_counter() if observer and not waits else None

    def _received(self) -> None:
        if observer and self._sent_at is not None:
            observer.answered(time.perf_counter() - self._sent_at)
        self._sent_at = None


class _NotPrimary(RedisConnectionError):  # noqa: N818 - it says what it is
    """A server that is a replica: another connection may lead to the primary."""


class _Demotable(_Timed):
    """Parts with a server that has become a replica: a new connection may lead to the new primary."""

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            answer = await super().read_response(*args, **kwargs)
        except ReadOnlyError as error:
            await self.disconnect(nowait=True)
            raise _NotPrimary(f"not the primary: {error}") from None
        self._received()
        return answer


class _PromptSend(_Timed):
    """Bounds a send by `asyncio.timeout`.

    redis-py does it by `asyncio.wait_for`, which on Python 3.11 loses a cancellation that arrives as the send
    completes: the cancelled task would go on for ever.
    """

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        waits = self._waits  # connecting has commands of its own
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        limit_s, self.socket_timeout = self.socket_timeout, None
        self._sending(waits=waits)
        try:
            async with asyncio.timeout(limit_s):
                await super().send_packed_command(command, check_health)
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = limit_s


class _Tcp(_PromptSend, _Demotable, redis.Connection):
    pass


class _Tls(_PromptSend, _Demotable, redis.SSLConnection):
    pass


class _Unix(_PromptSend, _Demotable, redis.UnixDomainSocketConnection):
    pass


class _Sentinels:
    """Those who know where the primary of a service is."""

    def __init__(self, kind: type[_Tcp | _Tls], address: RedisAddress) -> None:
        self._kind = kind
        self._address = address
        self._last: Node | None = None
        """The sentinel that gave the last answer; it is asked first."""
        self.primary: Node | None = None
        """That answer."""

    async def ask(self) -> Node:
        """Where the primary is now.

        Raises:
            redis.exceptions.ConnectionError: no sentinel says it.
        """
        complaints = []
        for host, port in sorted(self._address.nodes, key=lambda node: node != self._last):
            try:
                found = await self._ask(host, port)
            except RedisError as error:
                complaints.append(f"{host}:{port}: {error}")
                continue
            if found:
                self._last, self.primary = (host, port), (found[0], int(found[1]))
                return self.primary
            complaints.append(f"{host}:{port}: knows no such service")
        raise RedisConnectionError(f"No sentinel knows {self._address.service!r} ({'; '.join(complaints)})")

    async def _ask(self, host: str, port: int) -> Any:
        connection = self._kind(
            host=host,
            port=port,
            decode_responses=True,
            protocol=2,
            driver_info=None,
            socket_connect_timeout=SENTINEL_ANSWER_S,
            socket_timeout=SENTINEL_ANSWER_S,
            **self._address.sentinel_options,
        )
        try:
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service)
            return await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)


class _Watched(redis.Connection):
    """Asks the sentinels whenever it connects, and parts with a server that is not the primary any more."""

    def __init__(self, *, sentinels: _Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    async def connect(self) -> None:
        # Called before each use. An old primary that comes back would still take writes, and they would be lost.
        if self.is_connected and (self.host, self.port) != self._sentinels.primary:
            await self.disconnect(nowait=True)
        await super().connect()  # type: ignore[no-untyped-call]

    async def _connect(self) -> None:
        self.host, self.port = await self._sentinels.ask()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        # Right after a failover a sentinel may not have heard of it yet.
        await self.send_command("ROLE", check_health=False)
        if (await self.read_response())[0] != "master":
            raise _NotPrimary(f"{self.host}:{self.port} is not the primary")


class _WatchedTcp(_Watched, _Tcp):
    pass


class _WatchedTls(_Watched, _Tls):
    pass


@contextmanager
def translated() -> Iterator[None]:
    """Turn the many ways to say that a server does not answer, or does not write for now, into one.

    Raises:
        Unavailable: the server is away, starting, full, cannot persist, or has become a replica.
    """
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError) as error:
        _note_failure(_failed_by(error))
        raise Unavailable(f"Redis does not answer: {error}") from error
    except ResponseError as error:
        if isinstance(error, NOT_NOW) or str(error).startswith(NOT_NOW_TEXTS):
            _note_failure("refusal")
            raise Unavailable(f"Redis does not write: {error}") from error
        raise


def _failed_by(error: RedisConnectionError | RedisTimeoutError) -> FailedBy:
    if isinstance(error, _NotPrimary):
        return "refusal"
    return "timeout" if isinstance(error, RedisTimeoutError) else "connection"


def _note_failure(by: FailedBy) -> None:
    if observer:
        observer.failed(by)


def backoff_s(tries: int) -> float:
    """How long to wait before asking a server again that did not answer: ever longer up to 2 s, never all at once."""
    longest_s: float = min(0.1 * 2 ** min(tries, 10), 2.0)
    return random.uniform(0.5, 1.0) * longest_s  # noqa: S311 - jitter is no secret
