"""What a session process tells of its call, written a little later and together; by a process that is not trusted."""

import asyncio
import time
from collections import deque
from itertools import count

import msgspec
import structlog

from services.runner.allowance import Allowance
from services.runner.call.activity import AT_ONCE, PER_S
from services.runner.pipe import Happened
from shared.activity import ActivityLog
from shared.contract import AnyActivity
from shared.errors import Unavailable
from shared.launches import Claim
from shared.redis.connection import backoff_s
from shared.redis.entries import encode

log = structlog.get_logger()

TOGETHER_S = 0.25
"""What comes within this time is written together."""
MOST = 500
"""How much waits at most, while Redis is away."""
WRITTEN_AT_ONCE = 100
LONGEST = 16_384
"""Bytes of one event. A process that keeps to its bounds stays far below."""
LONG_AGO_S = 24 * 3600.0


class CallLog:
    """One session's. It may lose what is told, and counts that; it delays nothing else."""

    def __init__(self, activity: ActivityLog, claim: Claim, holder: str) -> None:
        self._activity = activity
        self._claim = claim
        self._holder = holder
        self._waiting: deque[Happened] = deque()
        self._some = asyncio.Event()
        self._writing = asyncio.Lock()
        # A process that keeps to its own bounds never meets this one.
        self._allowance = Allowance(PER_S * 2, AT_ONCE * 2)
        self._dropped = 0

    def take(self, happened: Happened) -> None:
        """Keep it until it is written, if there is room for it."""
        if (
            not self._allowance.take(time.monotonic())
            or len(self._waiting) >= MOST
            or len(encode(happened.activity)) > LONGEST
        ):
            self._dropped += 1
            return
        activity = msgspec.structs.replace(
            happened.activity,
            session_id=self._claim.launch.session_id,
            attempt=self._claim.launch.attempt,
            dropped=happened.activity.dropped + self._dropped,
        )
        self._dropped = 0
        self._waiting.append(Happened(at=happened.at, activity=activity))
        self._some.set()

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        tries = count()
        while True:
            await self._some.wait()
            await asyncio.sleep(TOGETHER_S)
            try:
                await self.write()
                tries = count()
            except Unavailable:
                await asyncio.sleep(backoff_s(next(tries)))
            except Exception:
                log.exception("activity_unwritten")
                self._waiting.clear()

    async def write(self) -> None:
        """Write what waits. A lease that is lost is not for this to find out: then it is written nowhere.

        Raises:
            Unavailable: Redis does not answer; it still waits.
        """
        async with self._writing:
            while self._waiting:
                some = [self._waiting[at] for at in range(min(len(self._waiting), WRITTEN_AT_ONCE))]
                now = time.monotonic()
                await self._activity.write(self._claim, self._holder, [_dated(one, now) for one in some])
                for _ in some:
                    self._waiting.popleft()
            self._some.clear()


def _dated(happened: Happened, now: float) -> AnyActivity:
    ago_s = min(max(now - happened.at, 0.0), LONG_AGO_S)
    return msgspec.structs.replace(happened.activity, ago_s=round(ago_s, 3))
