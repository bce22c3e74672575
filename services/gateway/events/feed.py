"""News of sessions: one reader of the fleet's feeds per process, for all requests that wait and all that listen."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from services.gateway.events.labels import Labels
from services.gateway.events.positions import Position
from services.gateway.events.subscribers import Subscribers
from services.gateway.tail import Batch, Tail
from shared.contract import ACTIVITY, EVENTS, Ended, Failed, Queued
from shared.events import decode
from shared.redis.connection import Redis
from shared.redis.entries import order
from shared.waiting import happens_within


class Watch:
    """One request's wait for news of one session."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Make the wait end, or the next one when nobody waits."""
        self._event.set()

    async def changed(self, wait_s: float) -> None:
        """Return when there may be news since the last call, or the time is up. What it is, the history says."""
        await happens_within(self._event, wait_s)
        self._event.clear()


class Feed:
    """The process's one look at `{bot}:events` and `{bot}:activity`."""

    def __init__(self, redis: Redis) -> None:
        self._watches: dict[str, set[Watch]] = {}
        self.ends = Watch()
        """Wakes whenever some session is over."""
        self._tail = Tail(redis, [EVENTS, ACTIVITY], take=self._take, resume=self._resume, news=True)
        self.subscribers = Subscribers()
        self.labels = Labels(redis)
        self.stopping = False
        """The process is about to stop: whoever waits answers with what there is."""

    async def run(self) -> None:
        """Read until cancelled."""
        await self._tail.run()

    def stop_waiting(self) -> None:
        """Ask every request that waits or listens to come to its end."""
        self.stopping = True
        self._wake_all()
        self.subscribers.stop()

    @contextmanager
    def watching(self, session_id: str) -> Iterator[Watch]:
        """Register for news of a session. What is written after this is not missed."""
        watch = Watch()
        self._watches.setdefault(session_id, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[session_id]
            watches.discard(watch)
            if not watches:
                del self._watches[session_id]

    def _take(self, batch: Batch) -> None:
        for _, event in decode(dict(batch).get(EVENTS, ())):
            for watch in self._watches.get(event.session_id, ()):
                watch.wake()
            if isinstance(event, Queued):
                self.labels.learn(event)
            if isinstance(event, Ended | Failed):
                self.ends.wake()
        self.subscribers.take(batch)

    def _resume(self) -> None:
        self._wake_all()
        self.subscribers.look_again(Position(*(order(self._tail.after[stream]) for stream in (EVENTS, ACTIVITY))))

    def _wake_all(self) -> None:
        self.ends.wake()
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()
