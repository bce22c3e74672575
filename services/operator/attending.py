"""What an operator does with its portion of some streams, again and again until it is told to stop."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from redis.exceptions import ResponseError

from services.operator.portion import Portion
from shared.errors import Unavailable
from shared.redis.connection import backoff_s
from shared.waiting import happens_within

log = structlog.get_logger()


class Attending:
    """The steps that are repeated side by side, each after a pause when it failed."""

    def __init__(
        self,
        portion: Portion,
        *,
        wake: Callable[[], None] = lambda: None,
        away: Callable[[Exception], None] = lambda _: None,
        broken: str = "",
    ) -> None:
        """`wake` ends what a step waits for, besides the portion's `receive`; `away` hears that Redis does not answer.

        Any other error ends everything, unless it has the name of an event in the log: `broken`.
        """
        self._portion = portion
        self._wake = wake
        self._away = away
        self._broken = broken

    async def run(self, stop: asyncio.Event, *steps: Callable[[], Awaitable[None]]) -> None:
        """Repeat the steps until `stop`. Nothing is being received any more when this returns."""
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(self._repeat(step, stop))
            await stop.wait()
            self._wake()
            # Nothing is cancelled: what is being given or done at this moment would belong to nobody.
            with suppress(Unavailable):
                await self._portion.call_back()

    async def leave(self) -> None:
        """Hand the portion over, if Redis answers; otherwise the others take it after a while."""
        with suppress(Unavailable, ResponseError):
            await self._portion.leave()

    async def _repeat(self, step: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                await step()
                failures = 0
            except Exception as error:
                if isinstance(error, Unavailable | ResponseError):
                    self._away(error)
                elif self._broken:
                    log.exception(self._broken)
                else:
                    raise
                failures += 1
                self._portion.look_back()
                await happens_within(stop, backoff_s(failures))
