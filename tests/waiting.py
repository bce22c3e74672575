"""Waiting for what can only be looked at, not listened to."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

from shared.redis.connection import Redis

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


async def until_a_reader_waits(redis: Redis) -> list[str]:
    """Return the ids of the connections that wait at the server for an entry of their group, when there is one.

    One that has only asked is not enough: it may still be told that there is no such group.
    """

    async def waiting() -> list[str]:
        clients: list[dict[str, str]] = await cast("Any", redis.client_list())
        return [client["id"] for client in clients if client["cmd"] == "xreadgroup" and "b" in client["flags"]]

    return list(await until(waiting))
