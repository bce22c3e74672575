"""The runner: claims launches into its slots, keeps their leases, and gives account of itself.

Small on purpose, and without Pipecat: bots run in processes of their own.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count
from typing import Any, Literal, TypeVar

import structlog

from services.runner.claiming import Claiming
from services.runner.forking.forks import SessionProcess, Strays
from services.runner.live_session import LiveSession, Runner
from services.runner.slots import Slots
from services.runner.trouble import Trouble
from shared import draining
from shared.claims import Claims
from shared.commands import Received
from shared.contract import PRESENCE_EVERY_S, Presence, Reason
from shared.errors import Unavailable
from shared.launches import Claim, EntryId
from shared.presence import announce
from shared.process.lifecycle import Shutdown
from shared.process.logs import whose
from shared.redis.connection import Redis, backoff_s
from shared.sweep import Sweep
from shared.version import VERSION

log = structlog.get_logger()

T = TypeVar("T")

SOON_S = 0.1
"""Changes within this time are announced together."""
RENEW_AGAIN_S = 0.5
"""A renewal that failed is tried again so soon: a server that is back before the fence must not be back too late."""
COLD_WAIT_S = 1.0
"""How long a runner that was started for one launch waits for one to be there."""
AFTER_FAULT_S = 1.0
HAND_BACK_WITHIN_S = 5.0
"""How long, beyond the stop grace, handing sessions back may take; then their leases are left to go stale."""


class Supervisor:
    """All of one runner's sessions."""

    def __init__(self, runner: Runner, redis: Redis, claims: Claims, slots: Slots, sweep: Sweep) -> None:
        self._runner = runner
        self._settings = runner.settings
        self._redis = redis
        self._claims = claims
        self._claiming = Claiming(claims, slots, redis, runner.name, runner.settings.agents)
        self._slots = slots
        self._sweep = sweep
        self._sessions: dict[EntryId, LiveSession] = {}
        self._tasks: set[asyncio.Task[bool]] = set()
        self._state: Literal["ready", "draining", "gone"] = "ready"
        self._strays = Strays()
        self._redis_answers = False
        self._useless = False
        self._away = Trouble("redis_away", "redis_back")
        self._renewals = Trouble("leases_not_renewed", "leases_renewed_again")

    @property
    def ready(self) -> bool:
        """Whether this runner can do its work: Redis answers, bots import, and each slot is warm or at work.

        A rollout waits for it: with a bot that does not import it must not go on to the last runner of the old one.
        """
        filled = self._slots.free + len(self._sessions) >= self._slots.count
        return self._redis_answers and not self._slots.error and filled

    async def stand_by(self, shutdown: Shutdown) -> None:
        """Serve any launch until asked to stop; then finish what runs, or hand it back when that is insisted on."""
        await self._work(shutdown, self._claim_all())

    async def serve_one(self, shutdown: Shutdown, first_claim: Callable[[], Awaitable[Claim | None]]) -> bool:
        """Serve one session to its end: the first claim, and the next attempts of it while nobody else has them.

        False: it stopped looking for one while it left launches to others, for want of a bot that imports.
        """
        await self._work(shutdown, self._serve_until_over(first_claim))
        return not self._useless

    async def next_waiting(self) -> Claim | None:
        """The oldest launch that waits, or None when there is none."""
        return await self._answered(partial(self._claiming.next, COLD_WAIT_S))

    async def _work(self, shutdown: Shutdown, work: Coroutine[Any, Any, None]) -> None:
        async with self._slots.kept_warm(), self._chores(shutdown):
            working = asyncio.create_task(work)
            asked = asyncio.create_task(shutdown.asked.wait())
            await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if working.done() and not working.cancelled() and (error := working.exception()):
                log.error("claiming_ended", exc_info=error)
            await self._drain(shutdown, working)

    @asynccontextmanager
    async def _chores(self, shutdown: Shutdown) -> AsyncIterator[None]:
        sweep = partial(self._sweep.run, self._settings.lease_s / 4, in_turn=True)
        works = (self._renew, self._take_commands, self._tell, sweep, partial(self._obey, shutdown))
        chores = [asyncio.create_task(self._keep_doing(work)) for work in works]
        try:
            yield
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            self._state = "gone"
            with suppress(Unavailable):
                await announce(self._redis, self._presence())

    async def _keep_doing(self, work: Callable[[], Awaitable[None]]) -> None:
        """A fault in one round must not stop the rounds: without renewals every bot here would be lost."""
        while True:
            try:
                await work()
            except Exception:
                log.exception("chore_failed")
            await asyncio.sleep(self._settings.renew_every_s)

    async def _claim_all(self) -> None:
        while await self._slots.warm():
            asked_at = time.monotonic()
            try:
                if claim := await self._answered(self._claiming.next):
                    await self._begin(claim, asked_at)
                    await asyncio.sleep(0)  # the session goes first, then the next claim
            except Exception:
                # One odd answer must not end the claiming of everything else.
                log.exception("claiming_failed")
                await asyncio.sleep(AFTER_FAULT_S)

    async def _serve_until_over(self, first_claim: Callable[[], Awaitable[Claim | None]]) -> None:
        next_claim = first_claim
        while await self._slots.warm():
            asked_at = time.monotonic()
            claim = await next_claim()
            if claim is None:
                self._useless = self._claiming.stands_back
                return
            session = await self._begin(claim, asked_at)
            if session and await session:
                return
            next_claim = self.next_waiting

    async def _begin(self, claim: Claim, asked_at: float) -> asyncio.Task[bool] | None:
        """Give a claim that was asked for at this time to a warm process. None: it is another's by now."""
        process = await self._slots.take()
        renewed_at = None
        try:
            renewed_at = await self._young(claim, asked_at)
        finally:
            if renewed_at is None:
                self._claims.done(claim)
                process.kill()
        return None if renewed_at is None else self._begin_in(process, claim, renewed_at)

    async def _young(self, claim: Claim, asked_at: float) -> float | None:
        """A time at which the lease was young, or None when it is lost.

        The server may have given it long ago: to a runner that was frozen, cut off, or without a warm process since.
        """
        if time.monotonic() - asked_at < self._settings.renew_every_s:
            return asked_at

        async def renew() -> tuple[float, list[EntryId]]:
            at = time.monotonic()
            return at, await self._runner.launches.renew(self._runner.name, [claim.entry])

        at, lost = await self._answered(renew) or (0.0, [claim.entry])
        if lost:
            self._runner.leases_lost["taken"] += 1
            log.warning("lease_lost", **whose(claim.launch))
        return None if lost else at

    def _begin_in(self, process: SessionProcess, claim: Claim, renewed_at: float) -> asyncio.Task[bool]:
        session = LiveSession(self._runner, claim, process, renewed_at=renewed_at)
        self._sessions[claim.entry] = session
        task = asyncio.create_task(session.run(), name=f"session {claim.launch.session_id}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, claim))
        self._slots.changed.set()
        return task

    def _ended(self, claim: Claim, task: asyncio.Task[bool]) -> None:
        self._tasks.discard(task)
        self._sessions.pop(claim.entry, None)
        self._claims.done(claim)
        self._slots.changed.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("session_broke", **whose(claim.launch), exc_info=error)

    async def _drain(self, shutdown: Shutdown, working: asyncio.Task[None]) -> None:
        """Claim nothing more; let what runs go on to its end, to the end of the grace, or until it is insisted."""
        if self._tasks:
            log.info("draining", sessions=len(self._tasks), grace_s=self._settings.drain_grace_s)
        self._state = "draining"
        self._slots.close()
        with suppress(Unavailable):
            await self._claims.stop()
        ended = asyncio.create_task(self._all_ended(working))
        insisted = asyncio.create_task(shutdown.insisted.wait())
        await asyncio.wait({ended, insisted}, timeout=self._settings.drain_grace_s, return_when=asyncio.FIRST_COMPLETED)
        insisted.cancel()
        for session in self._sessions.values():
            session.order(Reason.RUNNER_STOPPED)
        await asyncio.wait({ended}, timeout=self._settings.stop_grace_s + HAND_BACK_WITHIN_S)
        for task in (ended, working, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(asyncio.CancelledError):
            await working

    async def _all_ended(self, working: asyncio.Task[None]) -> None:
        await asyncio.wait({working})
        self._slots.empty()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _renew(self) -> None:
        """Keep the leases young, all in one call. Each session watches by itself that this works in time.

        On the same round, look at how much memory the bots use, and what dead ones have left behind.
        """
        pause_s = self._settings.renew_every_s
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self._settings.renew_every_s
            sessions = dict(self._sessions)
            for session in sessions.values():
                session.check_memory()
            self._strays.end(self._slots.pids())
            at = time.monotonic()
            if not sessions:
                continue
            try:
                lost = await self._runner.launches.renew(self._runner.name, list(sessions))
            except Unavailable as error:
                self._renewals.failed(time.monotonic(), sessions=len(sessions), error=str(error))
                pause_s = min(pause_s, RENEW_AGAIN_S)
                continue
            self._renewals.worked(time.monotonic())
            for entry, session in sessions.items():
                if entry in lost:
                    session.lose()
                else:
                    session.renewed(at)
            await self._take_back([session for entry, session in sessions.items() if entry not in lost])

    async def _take_back(self, held: list[LiveSession]) -> None:
        """A runner that was frozen reads once more before it knows that its leases are gone, and does nothing of it."""
        with suppress(Unavailable):
            self._deliver(await self._runner.inbox.take_back(one.claim.launch.session_id for one in held))

    async def _take_commands(self) -> None:
        while True:
            received = await self._answered(self._runner.inbox.read)
            if received is None:  # and it goes on, for a runner that stops may still have sessions
                await asyncio.sleep(RENEW_AGAIN_S)
            self._deliver(received or [])

    def _deliver(self, received: list[tuple[str, str, Received]]) -> None:
        sessions = {session.claim.launch.session_id: session for session in self._sessions.values()}
        for session_id, entry, command in received:
            if session := sessions.get(session_id):
                session.deliver(entry, command)

    async def _tell(self) -> None:
        while True:
            self._slots.changed.clear()
            presence = self._presence()
            await self._answered(partial(announce, self._redis, presence))
            with suppress(TimeoutError):
                async with asyncio.timeout(PRESENCE_EVERY_S):
                    await self._slots.changed.wait()
                    # The first warm slot is waited for.
                    await asyncio.sleep(0 if presence.state == "starting" else SOON_S)

    async def _obey(self, shutdown: Shutdown) -> None:
        """Look whether somebody wants this runner to drain, as it does on the first signal."""
        if await self._answered(partial(draining.ordered, self._redis, self._runner.name)):
            shutdown.asked.set()

    def _presence(self) -> Presence:
        warm = self._slots.free or self._sessions
        return Presence(
            runner=self._runner.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            start=self._runner.start,
            version=VERSION,
            state="starting" if self._state == "ready" and not warm else self._state,
            slots=self._slots.count,
            busy=len(self._sessions),
            free=self._slots.free if self._state == "ready" and self._claiming.taken else 0,
            error=self._slots.error,
            agents=self._settings.agents,
            broken=tuple(sorted(self._slots.broken)),
            running=sum(session.running for session in self._sessions.values()),
        )

    async def _answered(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """Call until Redis answers; None if it has not when the runner is to stop."""
        for tries in count():
            try:
                answer = await call()
            except Unavailable as error:
                self._away.failed(time.monotonic(), error=str(error))
                self._redis_answers = False
                if self._state != "ready":
                    return None
                await asyncio.sleep(backoff_s(tries))
            else:
                self._redis_answers = True
                self._away.worked(time.monotonic())
                return answer
        return None
