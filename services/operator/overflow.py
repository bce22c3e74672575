"""The overflow: a launch that no runner takes within a short grace gets a cold runner of its own making.

Any number of operators do this side by side, each for its own share of the launches. Nothing breaks when two start a
runner for one launch: runners take whatever waits longest, and one that finds nothing exits.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

import structlog
from redis.exceptions import ResponseError

from services.operator.launcher import ColdRunner, Ending, Launcher, LaunchError
from services.operator.portion import RENEW_EVERY_S
from services.operator.settings import OperatorSettings
from services.operator.share import Share
from shared.contract import LAUNCH, ColdStart, launch_stream
from shared.errors import BadEntry, Unavailable
from shared.events import News
from shared.launches import EntryId, Launches, Standing, decode
from shared.redis_connection import BLOCK_S, Redis, backoff_s
from shared.streams import Fields

LOOK_EVERY_S = 1.0
CLAIM_WITHIN_S = 30.0
"""A cold runner that lives for this long while its launch waits has taken another one, or hangs."""
MAX_FAILURES = 5
"""After so many cold runners that failed, a launch is left to the warm ones and to its deadline."""
_AWAY_AFTER_S = 3 * BLOCK_S

Step: TypeAlias = Literal["let_go", "start", "wait"]

log = structlog.get_logger()


@dataclass(kw_only=True)
class Waiting:
    """A launch in this operator's hands, and what was done about it. Times are of the operator's monotonic clock."""

    entry: EntryId
    session_id: str
    attempt: int
    not_before: float
    """No cold runner until then: the grace, or the back-off after one that failed."""
    look_at: float
    runner: ColdRunner | None = None
    started_at: float = 0.0
    failures: int = 0
    stream: str = LAUNCH


def decide(waiting: Waiting, standing: Standing, room: int, now: float) -> Step:
    """What to do about a launch. `room` is for how many more cold runners."""
    if standing != "waiting":
        return "let_go"
    if waiting.runner and now < waiting.started_at + CLAIM_WITHIN_S:
        return "wait"
    may_start = now >= waiting.not_before and waiting.failures < MAX_FAILURES
    return "start" if may_start and room > 0 else "wait"


def back_off_s(failures: int) -> float:
    """How long to wait after so many failures before the next cold runner: 1, 2, 4, 8 seconds and so on."""
    return float(2 ** max(failures - 1, 0))


class Overflow:
    """Without a `launcher` there is no cold capacity, and launches wait for a warm runner."""

    def __init__(self, redis: Redis, share: Share, launcher: Launcher | None, settings: OperatorSettings) -> None:
        self._share = share
        self._launches = Launches(redis)
        self._news = News(redis)
        self._launcher = launcher
        self._settings = settings
        self._held: dict[EntryId, Waiting] = {}
        self._changed = asyncio.Event()
        self._renew_at = 0.0
        self._answered_at = float("-inf")
        self._reached = False
        self._complained = False

    def ready(self) -> bool:
        """Whether Redis has answered recently."""
        return time.monotonic() - self._answered_at < _AWAY_AFTER_S

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then leave what is held to the other operators."""
        if not self._launcher:
            log.warning("no_cold_capacity", launcher="none", meaning="launches wait for a warm runner")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self._receive, stop))
            group.create_task(self._repeat(self._oversee, stop))
            await stop.wait()
            self._changed.set()
            # Nothing is cancelled: what is being given or started at this moment would belong to nobody.
            with suppress(Unavailable):
                await self._share.call_back()
        with suppress(Unavailable, ResponseError):
            await self._share.leave()

    async def _repeat(self, step: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                await step()
            except (Unavailable, ResponseError) as error:
                failures += 1
                self._note_away(error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), backoff_s(failures))
            else:
                failures = 0

    def _note_away(self, error: Exception) -> None:
        self._reached = False
        self._share.look_back()
        if not self._complained:
            self._complained = True
            log.warning("redis_away", error=str(error))

    def _note_answer(self) -> None:
        self._answered_at = time.monotonic()
        if self._complained:
            self._complained = False
            log.info("redis_back")
        if not self._reached:
            self._reached = True
            self._changed.set()

    async def _receive(self) -> None:
        await self._hold(await self._share.receive(), self._settings.overflow_grace_s)
        self._note_answer()

    async def _hold(self, entries: Iterable[tuple[EntryId, Fields]], grace_s: float) -> None:
        for entry, fields in entries:
            if entry in self._held:
                continue
            try:
                launch = decode(fields)
            except BadEntry:
                # Also what was deleted since: nothing to start a runner for.
                if fields:
                    log.warning("bad_launch", entry=entry)
                await self._share.let_go(entry)
                continue
            if not self._launcher:
                await self._share.let_go(entry)
                continue
            due = time.monotonic() + grace_s
            self._held[entry] = Waiting(
                entry=entry,
                session_id=launch.session_id,
                attempt=launch.attempt,
                not_before=due,
                look_at=due,
                stream=launch_stream(launch.agent, launch.attempt),
            )
            self._changed.set()

    async def _oversee(self) -> None:
        """One round: keep the share, look at what is due, wait for the next."""
        self._changed.clear()
        following = float("inf")
        if self._reached:
            if time.monotonic() >= self._renew_at:
                await self._renew()
            await self._look()
            following = min([self._renew_at, *(waiting.look_at for waiting in self._held.values())])
        with suppress(TimeoutError):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + following - time.monotonic()):
                await self._changed.wait()

    async def _renew(self) -> None:
        for entry in await self._share.renew(self._held):
            self._held.pop(entry, None)
        await self._hold(await self._share.take_over(), grace_s=0.0)
        self._renew_at = time.monotonic() + RENEW_EVERY_S

    async def _look(self) -> None:
        now = time.monotonic()
        due = sorted((w for w in self._held.values() if w.look_at <= now), key=lambda w: _order(w.entry))
        if not due or not self._launcher:
            return
        standings = await self._launches.standing([(w.stream, w.entry) for w in due])
        for waiting, standing in zip(due, standings, strict=True):
            with structlog.contextvars.bound_contextvars(session_id=waiting.session_id, attempt=waiting.attempt):
                await self._act(waiting, standing, self._launcher)

    async def _act(self, waiting: Waiting, standing: Standing, launcher: Launcher) -> None:
        now = time.monotonic()
        waiting.look_at = now + LOOK_EVERY_S
        if standing == "waiting" and waiting.runner and waiting.runner.ending:
            await self._note_ending(waiting, waiting.runner.ending, launcher)
        match decide(waiting, standing, self._settings.cold_max - launcher.alive(), now):
            case "let_go":
                await self._share.let_go(waiting.entry)
                del self._held[waiting.entry]
            case "start":
                await self._start(waiting, launcher)
            case "wait":
                pass

    async def _start(self, waiting: Waiting, launcher: Launcher) -> None:
        try:
            waiting.runner = await launcher.start(waiting.session_id, waiting.attempt, self._runner_ended)
        except LaunchError as error:
            await self._note_ending(waiting, Ending(str(error)), launcher)
            return
        waiting.started_at = time.monotonic()
        log.info("cold_start", launcher=launcher.name)
        await self._tell(waiting, launcher)

    async def _note_ending(self, waiting: Waiting, ending: Ending, launcher: Launcher) -> None:
        """A cold runner is gone, or never was, and its launch still waits. It may have served another one."""
        waiting.runner = None
        waiting.failures += bool(ending.error)
        waiting.not_before = waiting.look_at = time.monotonic() + back_off_s(waiting.failures)
        if ending.error:
            log.warning("cold_start_failed", error=ending.error, failures=waiting.failures)
            await self._tell(waiting, launcher, ending.error)
        if waiting.failures == MAX_FAILURES:
            log.error("cold_start_given_up", failures=waiting.failures)

    async def _tell(self, waiting: Waiting, launcher: Launcher, error: str = "") -> None:
        await self._news.publish(
            ColdStart(session_id=waiting.session_id, attempt=waiting.attempt, launcher=launcher.name, error=error)
        )

    def _runner_ended(self) -> None:
        """There is room for a cold runner again."""
        now = time.monotonic()
        for waiting in self._held.values():
            waiting.look_at = max(now, waiting.not_before)
        self._changed.set()


def _order(entry: EntryId) -> tuple[int, ...]:
    return tuple(map(int, entry.split("-")))
