"""Timers of a session."""

import asyncio
import time

from services.runner.timers import Timers


async def test_a_timer_that_is_moved_acts_once_at_its_new_time() -> None:
    timers, acted = Timers(), asyncio.Queue[float]()
    for after_s in (0.0, 0.05):
        timers.set("end", time.monotonic() + after_s, lambda: acted.put_nowait(time.monotonic()))
    due = time.monotonic() + 0.04
    assert await acted.get() >= due
    await asyncio.sleep(0)
    assert acted.empty()


async def test_a_renewal_that_is_answered_when_a_session_is_over_fences_nobody() -> None:
    """Every such session was counted as lost to a runner that could not renew its lease."""
    timers, acted = Timers(), list[str]()
    timers.set("fence", time.monotonic() + 60.0, lambda: acted.append("before"))
    timers.close()
    timers.set("fence", time.monotonic(), lambda: acted.append("after"))
    for _ in range(3):
        await asyncio.sleep(0)
    assert acted == []
