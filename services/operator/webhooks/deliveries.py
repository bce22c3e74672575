"""Webhooks: every event of the fleet feed to somebody's HTTP server, at least once.

The operators share the feed through a group of its own. An event is acknowledged when the receiver has answered 2xx;
those of an operator that dies are taken over by the others. An event that cannot be delivered is tried again, ever less
often, for a day; then it is a dead letter. What the feed has dropped before any operator could read it is lost, and the
log says how much.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import count
from typing import Any

import msgspec
import structlog

from services.operator.attending import Attending
from services.operator.portion import RENEW_EVERY_S, Portion, Taken
from services.operator.webhooks.sender import CONCURRENT, Answer, Sender
from shared.contract import DEAD_WEBHOOKS, DEAD_WEBHOOKS_KEPT, EVENTS, FIELD, WEBHOOKS, DeadWebhook
from shared.errors import Unavailable
from shared.launches import EntryId
from shared.redis.connection import Redis, backoff_s, translated
from shared.redis.entries import encode, milliseconds, moment
from shared.redis.streams import Fields
from shared.waiting import happens_within

HELD = 64
"""How many events one operator takes at most before they are delivered; the others wait in the feed."""
REFUSED = 1000
"""How many more that it has sent, and that were not accepted: some that never are must not keep the others back."""
LONGEST_PAUSE_S = 300.0
LONGEST_RETRY_AFTER_S = 3600.0
GIVE_UP_AFTER_S = 24 * 3600.0
"""So long after it happened an event becomes a dead letter, unless it has been tried only a few times."""
FEWEST_TRIES = 5

log = structlog.get_logger()


def gives_up(answer: Answer, tries: int, age_s: float) -> bool:
    """Whether an event that was not accepted is a dead letter. The age survives a restart, the tries do not."""
    return answer.gone or (age_s >= GIVE_UP_AFTER_S and tries >= FEWEST_TRIES)


def pause_s(answer: Answer, tries: int, jitter: float) -> float:
    """How long to wait before the next try; `jitter` between 0 and 1 keeps many from being tried all at once."""
    own = float(min(2 ** (tries - 1), LONGEST_PAUSE_S)) * (1 + jitter) / 2
    return max(own, min(answer.retry_after_s, LONGEST_RETRY_AFTER_S))


def body_of(entry: EntryId, fields: Fields) -> dict[str, Any] | None:
    """What the receiver gets: the event with its id and its time. None for what is no event."""
    try:
        event = msgspec.json.decode(fields[FIELD], type=dict[str, Any])
    except (KeyError, msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    event.pop("v", None)
    return {"id": entry, "type": str(event.pop("type", "")), "time": moment(entry), **event}


class Webhooks:
    """One operator's part of the deliveries."""

    def __init__(self, redis: Redis, operator: str, sender: Sender, types: Iterable[str]) -> None:
        self._redis = redis
        self._portion = Portion(redis, operator, WEBHOOKS, [EVENTS], start="$")
        self._sender = sender
        self._types = frozenset(types)
        self._deliveries: dict[EntryId, asyncio.Task[None]] = {}
        self._refused: set[EntryId] = set()
        """Those of them that were sent, and not accepted."""
        self._changed = asyncio.Event()
        self._places = asyncio.Semaphore(CONCURRENT)
        self._failing = False

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`; requests that are under way get their answer, the rest is left to the others."""
        log.info("webhooks_started", receiver=self._sender.receiver)
        try:
            attending = Attending(self._portion, wake=self._changed.set, broken="webhooks_failed")
            await attending.run(stop, partial(self._receive, stop), partial(self._keep, stop))
            if self._deliveries:
                await asyncio.wait(self._deliveries.values())
            await attending.leave()
        finally:
            for delivery in self._deliveries.values():
                delivery.cancel()
            await asyncio.gather(*self._deliveries.values(), return_exceptions=True)
            await self._portion.aclose()

    async def _receive(self, stop: asyncio.Event) -> None:
        self._changed.clear()
        room = HELD - (len(self._deliveries) - min(len(self._refused), REFUSED))
        if room <= 0:
            await self._changed.wait()
            return
        self._begin(await self._portion.receive(room), stop)

    async def _keep(self, stop: asyncio.Event) -> None:
        """Keep what is held, and take what others have abandoned."""
        if await happens_within(stop, RENEW_EVERY_S):
            return
        if lost := await self._portion.never_read(EVENTS):
            log.error("webhook_events_lost", count=lost, why="the feed has dropped them before they could be sent")
        await self._portion.drop_gone()
        for entry in await self._portion.renew(self._deliveries):
            if delivery := self._deliveries.get(entry):
                delivery.cancel()
        self._begin(await self._portion.take_over(), stop)
        if self._portion.dropped:
            log.error("webhook_events_lost", count=self._portion.dropped, why="the feed dropped them while they waited")
            self._portion.dropped = 0

    def _begin(self, taken: Taken, stop: asyncio.Event) -> None:
        for entry, fields in taken:
            if entry not in self._deliveries:
                delivery = asyncio.create_task(self._deliver(entry, fields, stop), name=f"webhook {entry}")
                self._deliveries[entry] = delivery
                delivery.add_done_callback(partial(self._ended, entry))

    def _ended(self, entry: EntryId, delivery: asyncio.Task[None]) -> None:
        del self._deliveries[entry]
        self._refused.discard(entry)
        self._changed.set()
        if not delivery.cancelled() and (error := delivery.exception()):
            log.error("webhook_delivery_broke", entry=entry, exc_info=error)

    async def _deliver(self, entry: EntryId, fields: Fields, stop: asyncio.Event) -> None:
        """See one event to its end: accepted, not asked for, or a dead letter."""
        event = body_of(entry, fields)
        if event is None:
            self._portion.dropped += not fields
        elif not self._types or event["type"] in self._types:
            refused = await self._until_accepted(entry, event, stop)
            if refused is None:
                return
            if refused:
                await self._settle(stop, partial(self._bury, entry, DeadWebhook(event=event, error=refused)))
                return
        await self._settle(stop, partial(self._portion.let_go, entry))

    async def _until_accepted(self, entry: EntryId, event: dict[str, Any], stop: asyncio.Event) -> str | None:
        """Send until the event is accepted: gives nothing then, why not if it is given up, None if it is for others."""
        body = msgspec.json.encode(event)
        tries = 0
        while not stop.is_set():
            async with self._places:
                if stop.is_set():
                    return None
                answer = await self._sender.send(entry, body)
            tries += 1
            self._note(answer)
            if answer.accepted:
                return ""
            if gives_up(answer, tries, time.time() - milliseconds(entry) / 1000):
                log.error("webhook_given_up", entry=entry, tries=tries, error=answer.error)
                return answer.error
            self._refused.add(entry)
            self._changed.set()
            await happens_within(stop, pause_s(answer, tries, random.random()))  # noqa: S311 - jitter is no secret
        return None

    async def _settle(self, stop: asyncio.Event, write: Callable[[], Awaitable[None]]) -> None:
        for tries in count():
            try:
                await write()
            except Unavailable:
                if stop.is_set():
                    return
                await happens_within(stop, backoff_s(tries))
            else:
                return

    async def _bury(self, entry: EntryId, letter: DeadWebhook) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xadd(DEAD_WEBHOOKS, {FIELD: encode(letter)}, maxlen=DEAD_WEBHOOKS_KEPT)
            pipe.xack(EVENTS, WEBHOOKS, entry)
            with translated():
                await pipe.execute()

    def _note(self, answer: Answer) -> None:
        """Say once that the receiver does not work, and once that it does again."""
        if answer.accepted == self._failing:
            self._failing = not answer.accepted
            if self._failing:
                log.warning("webhooks_not_accepted", receiver=self._sender.receiver, error=answer.error)
            else:
                log.info("webhooks_accepted_again", receiver=self._sender.receiver)
