"""Waiting for what can only be looked at, not listened to."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

LOOK_EVERY_S = 0.005


async def until(condition: Callable[[], Any | Awaitable[Any]], within_s: float = 20.0) -> Any:
    """Return what `condition`, a function or a coroutine function, gives as soon as that is true."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                found = condition()
                found = await found if inspect.isawaitable(found) else found
                if found:
                    return found
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s: {inspect.getsource(condition).strip()}") from None
