"""How late an event loop turns, for as long as something goes on in it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

PROBE_S = 0.01
FRAME_MS = 10.0
"""How long a frame of sound is, and by how much it may be late."""

Note = list[tuple[float, float]]
"""What was late: times of the machine's monotonic clock, and how many milliseconds."""


@asynccontextmanager
async def lags() -> AsyncIterator[Note]:
    """Timers of 10 ms, one after the other, and how much later each came."""
    found: Note = []

    async def probe() -> None:
        while True:
            due = time.monotonic() + PROBE_S
            await asyncio.sleep(PROBE_S)
            found.append((due, (time.monotonic() - due) * 1000))

    probing = asyncio.create_task(probe())
    try:
        yield found
    finally:
        probing.cancel()
        with suppress(asyncio.CancelledError):
            await probing


def write(file: Path, **notes: Note) -> None:
    """For whoever waits for this file: it is whole when it is there."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(notes))
    new.rename(file)


def within(file: Path, what: str, began: float, ended: float) -> list[float]:
    """How late it was, in milliseconds, between two times."""
    return [late for at, late in json.loads(file.read_text())[what] if began <= at < ended]
