"""What the fleet is at the moment that Prometheus asks: a few calls to Redis, however many sessions there are."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from redis.exceptions import ResponseError

from services.operator.metrics.counters import BOTS_IN_ROOM, DEAD_LETTERS, QUEUE_AGE, QUEUE_DEPTH, RUNNERS, SLOTS
from shared import known_agents, metrics
from shared.contract import CLAIMS, DEAD, Presence, Start, launch_streams
from shared.errors import Unavailable
from shared.presence import present
from shared.redis.connection import Redis, translated
from shared.redis.entries import milliseconds

WITHIN_S = 3.0
"""A server that has not said all by then counts as away; who asks for metrics waits no longer than some seconds."""
STATES = ("starting", "ready", "draining", "gone")


@dataclass(frozen=True)
class Queue:
    """What waits of one agent."""

    depth: int
    oldest_age_s: float


class FleetGauges:
    """Tells them with all other metrics of this process; without them while Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def text(self) -> bytes:
        """As Prometheus reads it."""
        try:
            async with asyncio.timeout(WITHIN_S):
                runners = await present(self._redis)
                queues = await self._queues()
                with translated():
                    dead = await self._redis.xlen(DEAD)
        except (Unavailable, TimeoutError):
            for gauge in (QUEUE_DEPTH, QUEUE_AGE, SLOTS, RUNNERS, BOTS_IN_ROOM):
                gauge.clear()
            DEAD_LETTERS.set(float("nan"))
        else:
            show_runners(runners)
            for gauge in (QUEUE_DEPTH, QUEUE_AGE):
                gauge.clear()  # of agents that Redis does not know any more
            for agent, queue in queues.items():
                QUEUE_DEPTH.labels(agent).set(queue.depth)
                QUEUE_AGE.labels(agent).set(queue.oldest_age_s)
            DEAD_LETTERS.set(dead)
        return metrics.text()

    async def _queues(self) -> dict[str, Queue]:
        known = await known_agents.read(self._redis)
        streams = launch_streams(known)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.time()
            for stream in streams:
                pipe.xlen(stream)
                pipe.xinfo_groups(stream)
            with translated():
                (seconds, microseconds), *about = await pipe.execute(raise_on_error=False)
        depths = {stream: _waiting(*of) for stream, *of in zip(streams, about[::2], about[1::2], strict=True)}
        async with self._redis.pipeline(transaction=False) as pipe:
            for stream, (_, last) in depths.items():
                pipe.xrange(stream, f"({last}" if last else "-", count=1)
            with translated():
                firsts = dict(zip(streams, await pipe.execute(), strict=True))
        now_ms = seconds * 1000 + microseconds // 1000
        return {agent: _queue(launch_streams([agent]), depths, firsts, now_ms) for agent in known}


def _waiting(length: Any, groups: Any) -> tuple[int, str]:
    """How many entries of a stream no runner was given, and which one it was given last."""
    if isinstance(length, Exception):
        raise length
    # Before the first launch there may be neither stream nor group.
    found = () if isinstance(groups, ResponseError) else groups
    for group in found:
        if group["name"] == CLAIMS:
            return length - group["pending"], group["last-delivered-id"]
    return length, ""


def _queue(
    streams: Iterable[str], depths: Mapping[str, tuple[int, str]], firsts: Mapping[str, Any], now_ms: int
) -> Queue:
    waits_ms = [now_ms - milliseconds(firsts[stream][0][0]) for stream in streams if firsts[stream]]
    return Queue(max(sum(depths[stream][0] for stream in streams), 0), max(waits_ms, default=0) / 1000)


def show_runners(runners: Iterable[Presence]) -> None:
    """Set what runners say of themselves; a kind that there is none of is there with 0."""
    slots: Counter[tuple[str, str]] = Counter()
    states: Counter[tuple[str, str]] = Counter()
    in_room: Counter[str] = Counter()
    for one in runners:
        slots[one.start, "busy"] += one.busy
        slots[one.start, "free"] += one.free
        slots[one.start, "unready"] += max(one.slots - one.busy - one.free, 0)
        states[one.start, one.state] += 1
        in_room[one.start] += one.running
    for start in get_args(Start):
        for state in ("busy", "free", "unready"):
            SLOTS.labels(start, state).set(slots[start, state])
        for state in STATES:
            RUNNERS.labels(start, state).set(states[start, state])
        BOTS_IN_ROOM.labels(start).set(in_room[start])
