"""A connection of its own for one blocking group read at a time, which can be called back."""

import asyncio
from collections.abc import Callable, Mapping

from shared.redis.connection import BLOCK_S, Redis, translated
from shared.redis.streams import Entries, read_group


class BlockingReader:
    """Reads as one consumer of a group. Cancelling a read could lose what the server has just given; this cannot."""

    def __init__(self, redis: Redis, group: str, consumer: str) -> None:
        self._redis = redis
        self._connection = redis.client()
        self._group = group
        self._consumer = consumer
        self._named: int | None = None
        """The server's name for the connection; None when there is another one since."""
        self._client_id: int | None = None
        """The same, while the connection may be in a blocking read."""

    async def read(
        self, streams: Callable[[], Mapping[str, str]], *, count: int = 100, block_s: float = BLOCK_S
    ) -> list[tuple[str, Entries]]:
        """As `shared.redis.streams.read_group`; empty too when called back.

        `streams` is asked at the last moment, and may have none any more: a change after that is for `call_back` to
        bring to notice.

        Raises:
            Unavailable: Redis does not answer. What it may have given is in the consumer's pending list.
        """
        self._client_id = await self._name()
        try:
            wanted = streams()
            if not wanted:
                return []
            return await read_group(self._connection, self._group, self._consumer, wanted, count=count, block_s=block_s)
        except BaseException:
            self._named = None  # the connection is another one from now on
            raise
        finally:
            self._client_id = None

    async def call_back(self) -> None:
        """End the read that is under way, if one is; it may only be on its way to the server."""
        client_id = self._client_id
        while client_id is not None and client_id == self._client_id:
            with translated():
                if await self._redis.client_unblock(client_id):
                    return
            await asyncio.sleep(0.001)

    async def _name(self) -> int:
        if self._named is None:
            with translated():
                named: int = await self._connection.client_id()
            self._named = named
            if self._connection.connection:
                self._connection.connection.register_connect_callback(self._connected)  # type: ignore[no-untyped-call]
        return self._named

    async def _connected(self, _: object) -> None:
        """What a connection that was made again is called, is asked before the next read."""
        self._named = None

    async def aclose(self) -> None:
        """Let go of the connection."""
        await self._connection.aclose()
