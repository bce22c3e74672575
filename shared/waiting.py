"""Waiting for an event, but not for ever."""

import asyncio
from contextlib import suppress


async def happens_within(event: asyncio.Event, for_s: float) -> bool:
    """Wait for the event, and for at most so long. Whether it has happened."""
    with suppress(TimeoutError):
        async with asyncio.timeout(for_s):
            await event.wait()
    return event.is_set()
