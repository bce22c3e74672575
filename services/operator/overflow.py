"""The overflow: a launch that no runner takes within a short grace gets a cold runner of its own making.

Any number of operators do this side by side, each for its own share of the launches. Nothing breaks when two start a
runner for one launch: runners take whatever waits longest, and one that finds nothing exits.
"""

import asyncio
import random
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import structlog

from services.operator.attending import Attending
from services.operator.launcher import ColdRunner, Launcher, LaunchError, Outlook, Trouble
from services.operator.metrics.counters import COLD_STARTS
from services.operator.portion import RENEW_EVERY_S
from services.operator.settings import OperatorSettings
from services.operator.share import Share
from shared.contract import LAUNCH, ColdStage, ColdStart, launch_stream
from shared.errors import BadEntry
from shared.events import News
from shared.launches import EntryId, Launches, Standing, decode
from shared.process.logs import whose
from shared.redis.connection import BLOCK_S, Redis
from shared.redis.entries import order
from shared.redis.streams import Fields
from shared.tracing import traces
from shared.waiting import happens_within

LOOK_EVERY_S = 1.0
SOON_S = 0.05
"""News of cold runners within this time are looked at together."""
MAX_FAILURES = 5
"""After so many cold runners that failed, a launch is left to the warm ones and to its deadline."""
MOST_TOLD = 20
"""A session's history is for people; that much about its cold runners is enough."""
STARTS_AT_ONCE = 16
"""How many cold runners are started side by side; the next round starts the next ones."""
LONGEST_BACK_OFF_S = 30.0
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
    failures: int = 0
    stream: str = LAUNCH
    refusals: int = 0
    """How often in a row none could be started, for a reason that may pass."""
    spent: int = 0
    """How many cold runners have ended well while it still waits: they have served others, or have no bot for it."""
    told: set[str] = field(default_factory=set)
    """What its session's history has been told already."""
    whose: Mapping[str, str | int] = field(default_factory=dict)
    """What names it in the log."""
    traceparent: str = ""
    cold_start: traces.Span | None = None
    """From the first cold runner that is started for it until it needs none any more."""


def decide(waiting: Waiting, standing: Standing, room: int, now: float) -> Step:
    """What to do about a launch. `room` is for how many more cold runners."""
    if standing != "waiting":
        return "let_go"
    may_start = waiting.runner is None and now >= waiting.not_before and waiting.failures < MAX_FAILURES
    return "start" if may_start and room > 0 else "wait"


def back_off_s(failures: int) -> float:
    """How long to wait after so many failures before the next cold runner: 1, 2, 4, 8 seconds and so on."""
    return min(float(2 ** max(min(failures, 10) - 1, 0)), LONGEST_BACK_OFF_S)


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
        attending = Attending(self._share, wake=self._changed.set, away=self._note_away)
        await attending.run(stop, self._receive, self._oversee)
        await attending.leave()

    def _note_away(self, error: Exception) -> None:
        self._reached = False
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
                whose=whose(launch),
                traceparent=launch.traceparent,
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
        await happens_within(self._changed, following - time.monotonic())

    async def _renew(self) -> None:
        for entry in await self._share.renew(self._held):
            self._held.pop(entry, None)
        await self._hold(await self._share.take_over(), grace_s=0.0)
        self._renew_at = time.monotonic() + RENEW_EVERY_S

    async def _look(self) -> None:
        now = time.monotonic()
        due = sorted((w for w in self._held.values() if w.look_at <= now), key=lambda w: order(w.entry))
        if not due or not self._launcher:
            return
        launcher = self._launcher
        await launcher.look()
        room = min(launcher.room(), STARTS_AT_ONCE)
        starts: list[Waiting] = []
        standings = await self._launches.standing([(w.stream, w.entry) for w in due])
        for waiting, standing in zip(due, standings, strict=True):
            with _bound(waiting):
                if await self._act(waiting, standing, room - len(starts), launcher) == "start":
                    starts.append(waiting)
        for outcome in await asyncio.gather(*(self._start(w, launcher) for w in starts), return_exceptions=True):
            if outcome:
                raise outcome

    async def _act(self, waiting: Waiting, standing: Standing, room: int, launcher: Launcher) -> Step:
        """Take note of what has become of a launch and its cold runner, and say what is next."""
        waiting.look_at = time.monotonic() + LOOK_EVERY_S
        if standing == "waiting":
            waiting.runner = waiting.runner or launcher.find(waiting.session_id, waiting.attempt)
            if waiting.runner:
                await self._note(waiting, waiting.runner.outlook, launcher)
        step = decide(waiting, standing, room, time.monotonic())
        if step == "let_go":
            await self._share.let_go(waiting.entry)
            if waiting.cold_start:
                waiting.cold_start.set("pipefleet.launch", standing)
                waiting.cold_start.end()
            del self._held[waiting.entry]
        return step

    async def _start(self, waiting: Waiting, launcher: Launcher) -> None:
        with _bound(waiting):
            waiting.cold_start = waiting.cold_start or _cold_start(waiting, launcher)
            try:
                waiting.runner = await launcher.start(waiting.session_id, waiting.attempt, self._runners_changed)
            except LaunchError as error:
                await self._note_refusal(waiting, error, launcher)
                return
            COLD_STARTS.labels(launcher.name, "created").inc()
            waiting.refusals = 0
            waiting.told.discard("created")
            log.info("cold_start", launcher=launcher.name)
            await self._tell(waiting, launcher, "created")

    async def _note_refusal(self, waiting: Waiting, error: LaunchError, launcher: Launcher) -> None:
        """A cold runner did not start. What may pass is tried until the launch's deadline."""
        COLD_STARTS.labels(launcher.name, "refused").inc()
        if error.passing:
            waiting.refusals += 1
        else:
            waiting.failures += 1
        again_s = max(back_off_s(waiting.failures + waiting.refusals), error.retry_after_s)
        self._wait(waiting, again_s)
        await self._tell(waiting, launcher, "created", Trouble(error.reason, str(error)))
        self._note_given_up(waiting)

    async def _note(self, waiting: Waiting, outlook: Outlook, launcher: Launcher) -> None:
        """What has become of the cold runner of a launch that still waits. It may have served another one."""
        if not outlook.coming:
            waiting.runner = None
            waiting.failures += outlook.trouble is not None
            waiting.spent += outlook.trouble is None
            COLD_STARTS.labels(launcher.name, "failed").inc(outlook.trouble is not None)
            self._wait(waiting, back_off_s(waiting.failures + waiting.spent))
        if outlook.trouble:
            await self._tell(waiting, launcher, outlook.stage, outlook.trouble)
            self._note_given_up(waiting)
        elif outlook.stage != "created":
            await self._tell(waiting, launcher, outlook.stage)

    def _wait(self, waiting: Waiting, pause_s: float) -> None:
        # Never all at once: what was refused to many is asked for again by many.
        again_at = time.monotonic() + pause_s * random.uniform(1.0, 1.3)  # noqa: S311
        waiting.not_before = waiting.look_at = again_at

    def _note_given_up(self, waiting: Waiting) -> None:
        if waiting.failures == MAX_FAILURES:
            log.error("cold_start_given_up", failures=waiting.failures)

    async def _tell(
        self, waiting: Waiting, launcher: Launcher, stage: ColdStage, trouble: Trouble | None = None
    ) -> None:
        """Add to the session's history what it does not have yet."""
        news = trouble.message or trouble.reason if trouble else stage
        if news in waiting.told or len(waiting.told) >= MOST_TOLD:
            return
        waiting.told.add(news)
        reason = trouble.reason if trouble else ""
        if waiting.cold_start:
            waiting.cold_start.event(f"{stage} failed" if trouble else stage, **{traces.REASON: reason})
        if trouble:
            log.warning("cold_start_failed", reason=reason, error=news, failures=waiting.failures)
        event = ColdStart(
            session_id=waiting.session_id,
            attempt=waiting.attempt,
            launcher=launcher.name,
            stage=stage,
            reason=reason,
            error=news if trouble else "",
        )
        await self._news.publish(event)

    def _runners_changed(self) -> None:
        """There may be room for a cold runner again, or something to tell."""
        now = time.monotonic()
        for waiting in self._held.values():
            if waiting.runner is None:
                waiting.look_at = max(now, waiting.not_before)
            else:
                waiting.look_at = min(waiting.look_at, now + SOON_S)
        self._changed.set()


def _cold_start(waiting: Waiting, launcher: Launcher) -> traces.Span:
    about: dict[str, traces.Value] = {traces.SESSION: waiting.session_id, traces.ATTEMPT: waiting.attempt}
    about["pipefleet.launcher"] = launcher.name
    return traces.start("cold start", waiting.traceparent, attributes=about)


def _bound(waiting: Waiting) -> AbstractContextManager[object]:
    return structlog.contextvars.bound_contextvars(**waiting.whose)
