"""The fleet's picture, for those clients of `/events` that ask for it."""

import asyncio

import msgspec

from services.gateway.events.subscribers import Subscribers
from services.gateway.events.told import FLEET, framed
from services.gateway.fleet.view import look
from shared.errors import Unavailable
from shared.launches import Launches
from shared.redis.connection import Redis

LOOK_EVERY_S = 1.0


class FleetNews:
    """Looks at the fleet while somebody wants to know, and shows what it sees to whoever has not seen that.

    A runner that dies says nothing, so there is no entry to wait for.
    """

    def __init__(self, redis: Redis, launches: Launches, subscribers: Subscribers) -> None:
        self._redis = redis
        self._launches = launches
        self._subscribers = subscribers

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._subscribers.fleet_wanted.wait()
            try:
                picture = framed(FLEET, {"type": FLEET, **msgspec.to_builtins(await look(self._redis, self._launches))})
            except Unavailable:
                pass  # the reader of the streams says so
            else:
                for subscription in self._subscribers.for_fleet:
                    subscription.show(picture)
            await asyncio.sleep(LOOK_EVERY_S)
