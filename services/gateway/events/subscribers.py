"""Who listens to events on this gateway: what the one reader of the streams finds is handed to each of them."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.gateway.events import told
from services.gateway.events.positions import Position, rank
from services.gateway.events.told import FLEET, Told
from services.gateway.tail import Batch
from shared.contract import EVENTS
from shared.redis.entries import order
from shared.waiting import happens_within

MOST_WAITING = 1_000
"""A client that is so many events behind is cut; it comes back to where it was."""


class Subscription:
    """One client's events, from its registration on. `session_id` and `types` choose, None means all."""

    def __init__(self, session_id: str | None, types: frozenset[str] | None) -> None:
        self.session_id = session_id
        self.types = types
        self.missed = False
        """Something may have been missed: what is newer than the client's position is to be read again."""
        self.closed = False
        """There is nothing more to send: the client is gone or cut, or the gateway stops."""
        self.wants_fleet = types is not None and FLEET in types
        self._fleet = self._shown = b""
        self._cut: Callable[[], None] | None = None
        self._waiting: deque[Told] = deque()
        self._some = asyncio.Event()

    def on_cut(self, cut: Callable[[], None]) -> None:
        """How to part with a client that does not read."""
        self._cut = cut

    def give(self, one: Told) -> None:
        """Add an event, if this client wants such; one too many ends it."""
        if self.closed or (self.types is not None and one.type not in self.types):
            return
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(one)
            self._some.set()
            return
        self.close()
        if self._cut:
            self._cut()

    def show(self, fleet: bytes) -> None:
        """Have the fleet's picture sent, unless this is the one that the client was given last."""
        if fleet != self._shown:
            self._fleet = self._shown = fleet
            self._some.set()

    def take_fleet(self) -> bytes:
        """The picture that is to be sent, once; of several that came meanwhile the last."""
        fleet, self._fleet = self._fleet, b""
        return fleet

    def look_again(self) -> None:
        """Have the client's events read from its position on."""
        self._waiting.clear()
        self.missed = True
        self._some.set()

    def close(self) -> None:
        """Send nothing more."""
        self._waiting.clear()
        self.closed = True
        self._some.set()

    async def wait(self, within_s: float) -> list[Told]:
        """What has come; empty when nothing but a picture did, or this is `closed`, or something was `missed`."""
        await happens_within(self._some, within_s)
        self._some.clear()
        found = list(self._waiting)
        self._waiting.clear()
        return found


class Subscribers:
    """All of this process's."""

    def __init__(self) -> None:
        self.position = Position()
        """How far the streams have been read; all up to here was given to those who had registered."""
        self._of_all: set[Subscription] = set()
        self._of_session: dict[str, set[Subscription]] = {}
        self.for_fleet: set[Subscription] = set()
        """Those who want the fleet's picture."""
        self.fleet_wanted = asyncio.Event()
        """Set while there are any."""
        self._stopping = False

    def __len__(self) -> int:
        return len(self._of_all) + sum(map(len, self._of_session.values()))

    @contextmanager
    def added(self, subscription: Subscription) -> Iterator[None]:
        """Hand it what is read from now on."""
        session_id = subscription.session_id
        group = self._of_all if session_id is None else self._of_session.setdefault(session_id, set())
        group.add(subscription)
        if subscription.wants_fleet:
            self.for_fleet.add(subscription)
            self.fleet_wanted.set()
        if self._stopping:
            subscription.close()
        try:
            yield
        finally:
            group.discard(subscription)
            self.for_fleet.discard(subscription)
            if not self.for_fleet:
                self.fleet_wanted.clear()
            if session_id is not None and not group:
                self._of_session.pop(session_id, None)

    def take(self, batch: Batch) -> None:
        """Hand on what was read, in the order in which it was written."""
        entries = [
            (order(entry), stream == EVENTS, entry, fields) for stream, found in batch for entry, fields in found
        ]
        entries.sort(key=lambda one: rank(one[0], is_state=one[1]))
        for at, is_state, entry, fields in entries:
            if self and (one := told.read(entry, fields, is_state=is_state, before=self.position)):
                for subscription in self._of_all:
                    subscription.give(one)
                for subscription in self._of_session.get(one.happening.session_id, ()):
                    subscription.give(one)
            self.position = self.position.after(at, is_state=is_state)

    def look_again(self, position: Position) -> None:
        """The streams are read on from here, perhaps after a while in which nobody read them."""
        self.position = position
        for subscription in self._everyone():
            subscription.look_again()

    def stop(self) -> None:
        """Let everyone go; who registers after this is let go at once."""
        self._stopping = True
        for subscription in self._everyone():
            subscription.close()

    def _everyone(self) -> list[Subscription]:
        return [*self._of_all, *(one for group in self._of_session.values() for one in group)]
