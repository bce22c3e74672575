"""What every service measures of itself, for Prometheus.

Importing this takes 30 ms, so a runner does it while nobody waits for it. What is counted on the way to a bot is
counted in plain numbers, which `Tally` shows when it is asked.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import prometheus_client
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from shared.redis import connection
from shared.redis.connection import FailedBy
from shared.sweep import Sweep

LOOK_EVERY_S = 0.25
"""How often the event loop is asked to be on time."""

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

_REDIS = Histogram(
    "pipefleet_redis_round_trip_seconds",
    "From a command, or the first of several sent together, to Redis's answer; without reads that wait for news.",
    ["component"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 6.0),
)
_REDIS_ERRORS = Counter(
    "pipefleet_redis_errors",
    "Calls that came to nothing: no connection, a timeout, or a server that does not write for now (refusal).",
    ["component", "by"],
)
_LAG = Histogram(
    "pipefleet_event_loop_lag_seconds",
    "How late the event loop was, asked four times a second.",
    ["component"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)


class Tally(Collector):
    """Shows numbers that are counted elsewhere, by one label."""

    def __init__(self, name: str, about: str, component: str, label: str, counted: Mapping[str, int]) -> None:
        self._name = name
        self._about = about
        self._component = component
        self._label = label
        self._counted = counted

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The numbers as they are now."""
        family = CounterMetricFamily(self._name, self._about, labels=["component", self._label])
        for value, number in self._counted.items():
            family.add_metric([self._component, value], number)
        yield family


def tallies_of(sweep: Sweep, component: str) -> tuple[Tally, Tally]:
    """What a sweeper counts."""
    return (
        Tally("pipefleet_sweeps", "Sweeps by how they went.", component, "outcome", sweep.rounds),
        Tally("pipefleet_repairs", "What sweeps have mended, each once.", component, "what", sweep.repairs),
    )


class _RoundTrips:
    """The observer of this process's calls to Redis."""

    def __init__(self, component: str) -> None:
        self.answered = _REDIS.labels(component).observe
        kinds: tuple[FailedBy, ...] = ("connection", "timeout", "refusal")
        self._failures = {by: _REDIS_ERRORS.labels(component, by) for by in kinds}

    def failed(self, by: FailedBy) -> None:
        self._failures[by].inc()


@asynccontextmanager
async def measuring(component: str, *tallies: Tally) -> AsyncIterator[None]:
    """Measure this process's Redis calls and event loop, and show these tallies, for as long as the context lasts."""
    before, connection.observer = connection.observer, _RoundTrips(component)
    for tally in tallies:
        REGISTRY.register(tally)
    watch = asyncio.create_task(_watch_loop(component), name="event loop lag")
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        for tally in tallies:
            REGISTRY.unregister(tally)
        connection.observer = before


async def _watch_loop(component: str) -> None:
    observe, loop = _LAG.labels(component).observe, asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK_EVERY_S
        await asyncio.sleep(LOOK_EVERY_S)
        observe(max(loop.time() - due, 0.0))


def text() -> bytes:
    """All metrics of this process, as Prometheus reads them."""
    return prometheus_client.generate_latest(REGISTRY)
