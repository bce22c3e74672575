"""Counts what happens in the fleet, from its feed.

The operators share the feed through a group of its own, so that each event is counted once, whichever service wrote it
and whether it still lives. What an operator has been given and has not counted, the others count when it is gone.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product
from typing import get_args

from services.operator.attending import Attending
from services.operator.metrics import counters
from services.operator.metrics.launch_phases import Phases, phases
from services.operator.portion import RENEW_EVERY_S, Portion
from shared import contract
from shared.contract import (
    COUNTED,
    EVENTS,
    AnyEvent,
    CommandDone,
    Ended,
    Failed,
    Leave,
    Outcome,
    Queued,
    Reason,
    Running,
    Start,
    Starting,
    Status,
    ToBot,
    Transport,
)
from shared.events import History, decode
from shared.launches import EntryId
from shared.redis.connection import Redis, translated

AT_ONCE = 500
"""How many events are counted in one go."""
LOOKED_BACK = 100
"""In so many of a session's events before `running` its way there is looked for."""
KINDS = frozenset(str(kind.__struct_config__.tag) for kind in (*get_args(ToBot), Leave))
UNKNOWN = "unknown"
PHASES = ("accept_to_claim", "claim_to_process", "process_to_room")
TRIED_AGAIN = {reason for reason in Reason if not reason.final and not reason.well} - {Reason.UNREADABLE}


class FeedCounts:
    """One operator's part of the counting."""

    def __init__(self, redis: Redis, operator: str) -> None:
        self._redis = redis
        self._portion = Portion(redis, operator, COUNTED, [EVENTS], start="$")
        self._tidy_at = 0.0
        self._unsure: set[EntryId] = set()
        """What was counted and is not known to be acknowledged: it may come again."""

    async def run(self, stop: asyncio.Event) -> None:
        """Count until `stop`."""
        try:
            attending = Attending(self._portion, broken="events_not_counted")
            await attending.run(stop, self._count_some)
            await attending.leave()
        finally:
            await self._portion.aclose()

    async def _count_some(self) -> None:
        await self._count(await self._portion.receive(AT_ONCE))
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + RENEW_EVERY_S
            await self._portion.drop_gone()
            await self._count(await self._portion.take_over())

    async def _count(self, taken: Sequence[tuple[EntryId, dict[str, str]]]) -> None:
        if not taken:
            return
        events = decode([(entry, fields) for entry, fields in taken if entry not in self._unsure])
        histories = await self._histories(events)
        self._unsure.update(entry for entry, _ in taken)
        for (_, event), history in zip(events, histories, strict=True):
            count(event, history)
        with translated():
            await self._redis.xack(EVENTS, COUNTED, *self._unsure)
        self._unsure.clear()

    async def _histories(self, events: History) -> list[History]:
        """What is to be known of each event's session, oldest first: how it began, or what led to `running`."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for entry, event in events:
                stream = contract.session_key(event.session_id)
                if isinstance(event, Running):
                    pipe.xrevrange(stream, max=entry, count=LOOKED_BACK)
                elif isinstance(event, Ended | Failed):
                    pipe.xrange(stream, count=1)
            with translated():
                found = iter(await pipe.execute())
        # The newest came first, or there is but one.
        return [
            decode(reversed(next(found))) if isinstance(event, Running | Ended | Failed) else [] for _, event in events
        ]


def count(event: AnyEvent, history: History) -> None:
    """Count one event; `history` is what is to be known of its session."""
    match event:
        case Queued(reason=reason, agent=agent) if reason:
            _attempts_failed(agent, reason.value).inc()
        case Starting(start=start):
            _attempts(start).inc()
        case Running():
            if found := phases(history):
                _observe(found)
        case CommandDone(kind=kind, outcome=outcome):
            # A command that nobody could read has whatever kind it says.
            _commands(kind if kind in KINDS else UNKNOWN, outcome.value).inc()
        case Ended(reason=reason) | Failed(reason=reason):
            begun = history[0][1] if history else None
            status = Status.ENDED if isinstance(event, Ended) else Status.FAILED
            _over(begun.agent if isinstance(begun, Queued) else "", status.value, reason.value).inc()
        case _:
            pass


def begin(launcher: str, agents: Iterable[str]) -> None:
    """Let what can happen be there with 0: what appears with 1 has, for Prometheus, not risen."""
    for agent, reason in product(agents, Reason):
        if reason in TRIED_AGAIN:
            _attempts_failed(agent, reason.value)
        status = Status.ENDED if reason.well else Status.FAILED
        _over(agent, status.value, reason.value)
    for start in get_args(Start):
        _attempts(start)
        for phase, transport in product(PHASES, get_args(Transport)):
            _phases(phase, start, transport)
    for kind, outcome in product((*KINDS, UNKNOWN), Outcome):
        _commands(kind, outcome.value)
    for result in ("created", "refused", "failed"):
        counters.COLD_STARTS.labels(launcher, result)


def _observe(found: Phases) -> None:
    for phase in PHASES:
        _phases(phase, found.start, found.transport).observe(getattr(found, phase))


_attempts = cache(counters.ATTEMPTS.labels)
_attempts_failed = cache(counters.ATTEMPTS_FAILED.labels)
_commands = cache(counters.COMMANDS.labels)
_over = cache(counters.SESSIONS_OVER.labels)
_phases = cache(counters.PHASES.labels)
