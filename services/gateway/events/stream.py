"""Events for one client, as server-sent events: from its position to the present, and on from there.

It is registered with the one reader of the streams before its backlog is read, and what both bring is sent once. So it
is again whenever that reader could not read for a while.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing

from litestar.types import Receive, Scope, Send

from services.gateway.events import backlog
from services.gateway.events.backlog import Gap
from services.gateway.events.labels import Labels
from services.gateway.events.positions import Position
from services.gateway.events.subscribers import Subscribers, Subscription
from services.gateway.events.told import ACTIVITY_TYPES, STATE_TYPES, Told, framed
from shared.contract import Ended, Failed
from shared.errors import Unavailable
from shared.redis.connection import Redis, backoff_s
from shared.redis.entries import time_of

HEARTBEAT_S = 15.0
RETRY_MS = 2_000
CAUGHT_UP = b" now"
"""The comment after all that had been written before; what follows is what comes."""
ABORT = "abort"
"""Where the server leaves, in the state of a request, the function that breaks the connection off."""

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """The answer to one client. `position` is what it has had; None: it wants what comes from now on.

    The events of a session that is `over` come to their end.
    """

    def __init__(
        self,
        redis: Redis,
        subscription: Subscription,
        position: Position | None,
        *,
        labels: Labels,
        wanted: Mapping[str, str],
        over: bool = False,
    ) -> None:
        self._redis = redis
        self._subscription = subscription
        self._resumes = position is not None
        self._position = position or Position()
        self._labels = labels
        self._wanted = wanted
        self._over = over

    async def chunks(self, subscribers: Subscribers) -> AsyncGenerator[bytes, None]:
        """What to send, until the client is gone or there is no more; the client has been registered before.

        Raises:
            Unavailable: Redis does not answer at the very beginning.
        """
        subscription = self._subscription
        subscription.missed = self._resumes
        if not self._resumes:
            self._position = await backlog.newest(self._redis)
        yield b"retry: %d\n%b" % (RETRY_MS, self._placed())
        failures = 0
        while not subscription.closed:
            try:
                if subscription.missed or self._over:
                    subscription.missed = False
                    async with aclosing(self._older()) as older:
                        async for chunk in older:
                            yield chunk
                    if not self._over:
                        yield self._placed(CAUGHT_UP)
                    elif not subscription.missed:
                        yield b"id: %b\n%b" % (str(self._position).encode(), framed("end", {}))
                        return
                yield await self._newer(subscribers)
                failures = 0
            except Unavailable:
                subscription.missed = True
                yield self._placed()
                await asyncio.sleep(backoff_s(failures))
                failures += 1

    async def _older(self) -> AsyncGenerator[bytes, None]:
        """What is after the position by now, page by page."""
        more = True
        while more and not self._subscription.closed:
            page = await backlog.after(self._redis, self._subscription.session_id, self._position)
            chunk = [_gap(gap) for gap in page.gaps if self._concerns(gap)]
            chunk += [one.whole for one in page.told if await self._wants(one)]
            self._note(page.told)
            self._position, more = page.end, page.more
            yield b"".join(chunk)

    async def _newer(self, subscribers: Subscribers) -> bytes:
        """Wait for what comes, or for the time of a heartbeat."""
        found = await self._subscription.wait(HEARTBEAT_S)
        fleet = self._subscription.take_fleet()
        if self._subscription.missed or self._subscription.closed:
            return fleet
        if not found:
            # Whatever was read until now was not for this client, or it has had it.
            if subscribers.position.covers(self._position):
                self._position = subscribers.position
            return fleet or self._placed()
        position, chunk = self._position, [fleet]
        for one in found:
            if position.has(one.entry, is_state=one.is_state):
                continue
            position = position.after(one.entry, is_state=one.is_state)
            if one.position.covers(position):
                position = one.position
            if await self._wants(one):
                chunk.append(one.whole if position is one.position else one.under(position))
        self._note(found)
        self._position = position
        return b"".join(chunk)

    async def _wants(self, one: Told) -> bool:
        types = self._subscription.types
        if types is not None and one.type not in types:
            return False
        if not self._wanted:
            return True
        labels = await self._labels.of(one.happening.session_id)
        return all(labels.get(name) == value for name, value in self._wanted.items())

    def _concerns(self, gap: Gap) -> bool:
        types = self._subscription.types
        return types is None or not types.isdisjoint(STATE_TYPES if gap.feed == "events" else ACTIVITY_TYPES)

    def _note(self, told: Iterable[Told]) -> None:
        """See whether this was the session's end; what else there may be of it has been written."""
        if self._subscription.session_id is not None:
            self._over = self._over or any(isinstance(one.happening, Ended | Failed) for one in told)

    def _placed(self, comment: bytes = b"") -> bytes:
        """A heartbeat: it is no event, and tells a client where it is, to come back to."""
        return b"id: %b\n:%b\n\n" % (str(self._position).encode(), comment)


class Streaming:
    """An ASGI application: sends one client its events until it is gone, cut, or told all."""

    def __init__(self, stream: EventStream, subscription: Subscription, subscribers: Subscribers) -> None:
        self._stream = stream
        self._subscription = subscription
        self._subscribers = subscribers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        abort: Callable[[], None] | None = scope["state"].get(ABORT)
        if abort:
            self._subscription.on_cut(abort)
        with self._subscribers.added(self._subscription):
            gone = asyncio.create_task(self._until_gone(receive))
            try:
                async with aclosing(self._stream.chunks(self._subscribers)) as chunks:
                    await _send_all(chunks, send)
            finally:
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)

    async def _until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._subscription.close()


async def _send_all(chunks: AsyncGenerator[bytes, None], send: Send) -> None:
    # What can go wrong at the beginning is an answer of its own.
    first = await anext(chunks)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": first, "more_body": True})
    async for chunk in chunks:
        if chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _gap(gap: Gap) -> bytes:
    return framed("gap", {"feed": gap.feed, "since": time_of(gap.since), "until": time_of(gap.until)})
