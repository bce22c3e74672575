"""The fleet as it is shown: runners, slots and queue."""

import asyncio

import msgspec

from shared.contract import Start
from shared.launches import Launches
from shared.presence import present
from shared.redis.connection import Redis


class RunnerView(msgspec.Struct, frozen=True, kw_only=True):
    """One runner, as it last said of itself."""

    runner: str
    slots: int
    busy: int
    free: int
    running: int
    pid: int
    host: str
    start: Start
    state: str
    version: str
    error: str
    """Which bots cannot run there, and why; empty when all can."""
    agents: tuple[str, ...]
    """Whose sessions it takes; the default agent has the empty name."""


class FleetView(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at this moment."""

    slots: int
    busy: int
    """Slots that have a session."""
    free: int
    """Slots that would take one at once."""
    queued: int
    """Sessions that no runner has yet."""
    running: int
    """Bots that are in their rooms."""
    runners: list[RunnerView]


async def look(redis: Redis, launches: Launches) -> FleetView:
    """What the fleet is now.

    Raises:
        Unavailable: Redis does not answer.
    """
    runners, queued = await asyncio.gather(present(redis), launches.depth())
    return FleetView(
        slots=sum(runner.slots for runner in runners),
        busy=sum(runner.busy for runner in runners),
        free=sum(runner.free for runner in runners),
        queued=queued,
        running=sum(runner.running for runner in runners),
        runners=[msgspec.convert(runner, RunnerView, from_attributes=True) for runner in runners],
    )
