"""What a runner tells of itself at `/metrics`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.runner.live_session import Runner
from shared.sweep import Sweep

LEASES_LOST = "Leases that were another's when they were renewed (taken), or could not be renewed in time (fenced)."


@asynccontextmanager
async def measured(runner: Runner, sweep: Sweep, begun: asyncio.Event) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """Measure for as long as the context lasts; gives what tells the metrics.

    What it takes is imported when the zygote has `begun`: while that imports the bots, nobody waits for the supervisor.
    """
    task = asyncio.create_task(_measure(runner, sweep, begun), name="metrics")
    try:
        yield _tell
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _measure(runner: Runner, sweep: Sweep, begun: asyncio.Event) -> None:
    await begun.wait()
    from shared import metrics  # noqa: PLC0415

    leases = metrics.Tally("pipefleet_leases_lost", LEASES_LOST, "runner", "how", runner.leases_lost)
    async with metrics.measuring("runner", leases, *metrics.tallies_of(sweep, "runner")):
        await asyncio.Event().wait()


async def _tell() -> bytes:
    from shared import metrics  # noqa: PLC0415

    return metrics.text()
