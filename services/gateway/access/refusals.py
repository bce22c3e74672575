"""Requests that are refused must not keep others from being served, nor fill the log.

A refusal costs a process about as much time as half a join. So the first of each second are told at once, which is all
that a caller with a mistake sees; the others a second later: who asks again and again over the same connections is
then slow, and nobody else. The log has one line a second at most, with how many there were.
"""

import asyncio
import time

import structlog

from services.gateway.errors import HttpError

AT_ONCE = 100
"""How many refusals of a second are told at once."""
LATER_S = 1.0

_log = structlog.get_logger()


class Refusals:
    """Those of one process."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._count = 0

    async def paced(self, error: HttpError, key: str) -> None:
        """Return when this refusal may be told. `key` is the fingerprint of the caller's key, if it is known."""
        now = time.monotonic()
        if now - self._since >= LATER_S:
            # The line tells of those before it: nobody has to wake up to write it.
            _log.warning("requests_refused", code=error.code, key=key, before=self._count)
            self._since, self._count = now, 0
        self._count += 1
        if self._count > AT_ONCE:
            await asyncio.sleep(LATER_S)
