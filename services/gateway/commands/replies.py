"""Replies to the commands of this gateway, brought to the requests that wait for them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from services.gateway.tail import Batch, Tail
from shared.contract import Reply, replies_key
from shared.errors import BadEntry
from shared.redis.connection import Redis
from shared.redis.entries import Decoder

_reply = Decoder[Reply](Reply)


class Replies:
    """The process's one look at its own reply stream."""

    def __init__(self, redis: Redis, gateway_id: str) -> None:
        self.gateway_id = gateway_id
        """What commands carry as `reply_to`."""
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._tail = Tail(redis, [replies_key(gateway_id)], take=self._take, resume=lambda: None, news=False)

    async def run(self) -> None:
        """Read until cancelled."""
        await self._tail.run()

    @contextmanager
    def expected(self, command_id: str) -> Iterator[asyncio.Future[Reply]]:
        """The reply to a command that is about to be sent; after the context nobody waits for it any more."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[command_id] = future
        try:
            yield future
        finally:
            del self._waiting[command_id]
            future.cancel()

    def _take(self, batch: Batch) -> None:
        for fields in (fields for _, entries in batch for _, fields in entries):
            with suppress(BadEntry):
                reply = _reply(fields)
                future = self._waiting.get(reply.command_id)
                if future and not future.done():
                    future.set_result(reply)
