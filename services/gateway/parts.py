"""What the request handlers work with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from services.gateway import sessions
from services.gateway.access import rates
from services.gateway.access.rates import Rates
from services.gateway.commands.replies import Replies
from services.gateway.daily.api import DailyApi
from services.gateway.daily.room_removal import RoomRemoval
from services.gateway.daily.rooms import DailyRooms
from services.gateway.errors import Invalid, NotFound
from services.gateway.events.feed import Feed
from services.gateway.events.fleet_news import FleetNews
from services.gateway.sessions import Session
from services.gateway.settings import GatewaySettings
from shared import contract, events
from shared.commands import Commands
from shared.contract import Queued
from shared.dead_letters import DeadLetters
from shared.launches import Launches
from shared.process.process_name import process_name
from shared.redis.connection import Redis
from shared.redis.streams import between
from shared.rooms import BadRoom, canonical
from shared.sealing import Seals

NO_SESSION = "There is no such session."
NO_ROOM = "There is no session in this room."
ONE_OF_BOTH = "either this or room_url must be given"

ANSWER_S = 1.0
"""A server that has not answered a request's question for this long counts as away; it is asked again once."""


@dataclass(frozen=True)
class Daily:
    """What a gateway with a DAILY_API_KEY has besides."""

    api: DailyApi
    rooms: DailyRooms
    removal: RoomRemoval


@dataclass(frozen=True)
class Parts:
    """The objects of one gateway process. Making them does nothing; `reading` makes feed and replies follow."""

    settings: GatewaySettings
    redis: Redis
    launches: Launches
    dead_letters: DeadLetters
    commands: Commands
    feed: Feed
    fleet_news: FleetNews
    replies: Replies
    rates: Rates
    daily: Daily | None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Follow the streams for as long as the context lasts."""
        daily = (self.daily.removal,) if self.daily else ()
        followers = (self.feed, self.fleet_news, self.replies, self.rates, *daily)
        readers = [asyncio.create_task(part.run()) for part in followers]
        try:
            yield
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            if self.daily:
                await self.daily.api.aclose()

    async def session(self, session_id: str) -> Session:
        """A session that is not over.

        Raises:
            NotFound: there is none of this id, or it is over.
        """
        session = await sessions.read(self.redis, session_id)
        if session is None:
            raise NotFound(NO_SESSION)
        if session.status.over:
            raise NotFound(f"The session is over: {session.reason}")
        return session

    async def addressee(self, session_id: str | None, room_url: str | None) -> tuple[str, str]:
        """Session and canonical room, by one of both; whether the session lives is not looked at.

        Raises:
            Invalid: the room is no URL.
            NotFound: there is no such session.
        """
        if room_url is not None:
            return await self._found(room_url)
        # The first event has the room; a history can be long.
        first = events.decode(await between(self.redis, contract.session_key(session_id or ""), count=1))
        if not first or not isinstance(first[0][1], Queued):
            raise NotFound(NO_SESSION)
        return first[0][1].session_id, first[0][1].room_url

    async def session_of(self, session_id: str | None, room_url: str | None) -> Session:
        """A session that is not over, by exactly one of its id and its room.

        Raises:
            Invalid: both are given, or none, or the room is no URL.
            NotFound: there is none.
        """
        if session_id is not None and room_url is None:
            return await self.session(session_id)
        if room_url is None or session_id is not None:
            raise Invalid("session_id", ONE_OF_BOTH)
        found, _ = await self._found(room_url)
        return await self.session(found)

    async def _found(self, room_url: str) -> tuple[str, str]:
        """The live session of a room, with the room's canonical URL."""
        try:
            room = canonical(room_url)
        except BadRoom as error:
            raise Invalid("room_url", str(error)) from None
        found = await self.launches.find(room)
        if found is None:
            raise NotFound(NO_ROOM)
        return found, room


def assemble(settings: GatewaySettings, redis: Redis, readers_redis: Redis) -> Parts:
    """All parts of a gateway; `readers_redis` is the client whose calls may block."""
    gateway_id, seals = process_name(), Seals(settings.payload_keys)
    feed, launches = Feed(readers_redis), Launches(redis, seals=seals)
    return Parts(
        settings=settings,
        redis=redis,
        launches=launches,
        dead_letters=DeadLetters(redis, seals),
        commands=Commands(redis, seals),
        feed=feed,
        fleet_news=FleetNews(redis, launches, feed.subscribers),
        replies=Replies(readers_redis, gateway_id),
        rates=Rates(redis, {"join": rates.parse(settings.join_rate), "other": rates.parse(settings.request_rate)}),
        daily=_daily(settings, redis, feed, gateway_id),
    )


def _daily(settings: GatewaySettings, redis: Redis, feed: Feed, gateway_id: str) -> Daily | None:
    if not settings.daily_api_key:
        return None
    api = DailyApi(settings.daily_api_url, settings.daily_api_key)
    removal = RoomRemoval(redis, api, feed, gateway_id)
    return Daily(api, DailyRooms(redis, api, removal, settings.max_attempts), removal)


Injected: TypeAlias = NamedDependency[SkipValidation[Parts]]
"""How a handler takes them, as its argument `parts`."""
