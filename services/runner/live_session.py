"""One session in its runner's hands: from the claimed launch to its end, its next attempt, or a lost lease.

The supervisor's side of a session process. It forwards what the process says to Redis, and holds the process to its
times from outside: join, length, stopping. What it writes goes out in order, and is tried again while Redis is away.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import structlog

from services.runner.call.call_log import CallLog
from services.runner.conclusion import conclude, pause_s, verdict
from services.runner.forking.forks import SessionProcess
from services.runner.pipe import (
    Begin,
    Do,
    Done,
    EndsSoon,
    Entering,
    Happened,
    Hidden,
    InRoom,
    Offered,
    Over,
    Recorded,
    Renewed,
    Stop,
    ToSupervisor,
)
from services.runner.settings import RunnerSettings
from services.runner.timers import Timers
from services.runner.tracing.attempt_trace import AttemptTrace
from services.runner.writes import Writes
from shared.activity import ActivityLog
from shared.commands import Received, Unreadable
from shared.contract import (
    AnyEvent,
    CommandReason,
    Ended,
    Failed,
    Launch,
    Leave,
    Leaving,
    Outcome,
    Reason,
    Reply,
    Running,
    Start,
    Starting,
)
from shared.events import ran_s
from shared.inbox import Inbox
from shared.launches import Claim, Launches
from shared.process.logs import whose
from shared.waiting import happens_within

log = structlog.get_logger()

ENTERED_WITHIN_S = 1.0
"""A bot that was called, and has not let its event loop turn for so long since, has been entered all the same."""


@dataclass(frozen=True)
class Runner:
    """What all sessions of a runner share."""

    name: str
    start: Start
    launches: Launches
    inbox: Inbox
    activity: ActivityLog
    settings: RunnerSettings
    leases_lost: Counter[str] = field(default_factory=lambda: Counter(taken=0, fenced=0))
    """How often a lease was another's, and how often it could not be renewed in time."""


class LiveSession:
    """A claimed launch and the process that has it."""

    def __init__(self, runner: Runner, claim: Claim, process: SessionProcess, *, renewed_at: float) -> None:
        self.claim = claim
        self.running = False
        """The bot is in its room."""
        self._runner = runner
        self._settings = runner.settings
        self._trace = AttemptTrace(claim, runner.name, runner.start)
        self._launch = self._trace.within(claim.launch)
        self._opened = self._trace.within(claim.opened) if claim.opened else None
        self._process = process
        self._renewed_at = renewed_at
        self._lost = False
        self._loss_counted = False
        self._settled = False
        self._waits_for_client = claim.launch.transport == "webrtc"
        self._ordered: Reason | None = None
        self._dismissed = asyncio.Event()
        self._log = log.bind(**whose(claim.launch))
        self._over: Over | None = None
        self._early: list[Do] | None = []
        """Commands that came before the process knows its launch; None from then on."""
        self._began = time.monotonic()
        self._process_s: float | None = None
        """How long after the claim the process had the launch."""
        self._ran_s = 0.0
        """How long earlier attempts kept the session running, pauses between them included."""
        self._call_log = CallLog(runner.activity, claim, runner.name)
        if process.output:
            process.output.whose((self._opened or self._launch).token, **whose(claim.launch))
        self._timers = Timers()
        self._writes = Writes(lambda: self._lost)

    async def run(self) -> bool:
        """See the session through. False: it goes on elsewhere, in another attempt."""
        structlog.contextvars.bind_contextvars(**whose(self._launch))
        writer = asyncio.create_task(self._writes.run())
        call_log = asyncio.create_task(self._call_log.run())
        printing = asyncio.create_task(output.run()) if (output := self._process.output) else None
        try:
            self._report(Starting(**self._whose(), runner=self._runner.name, start=self._runner.start))
            self._writes.put(self._listen_for_commands)
            self._timers.set("fence", self._renewed_at + self._settings.fence_s, self._fence)
            if self._launch.attempt > 1:
                await self._catch_up()
            self._begin()
            await self._follow()
            over = await self._settle()
            self._writes.end()
            await writer
            return over
        finally:
            self._timers.close()
            writer.cancel()
            call_log.cancel()
            if printing:
                printing.cancel()
            self._process.kill()
            await self._process.exited.wait()
            self._trace.close()
            if not self._settled:
                self._runner.inbox.close(self._launch.session_id, self._launch.attempt)

    async def _catch_up(self) -> None:
        """Learn what earlier attempts left: how long the session has run, and commands, a leave perhaps among them."""
        caught_up = asyncio.Event()

        async def look_back() -> None:
            self._ran_s = ran_s(await self._runner.launches.history(self._launch.session_id))
            caught_up.set()

        self._writes.put(look_back)
        exited = asyncio.create_task(self._process.exited.wait())
        looked = asyncio.create_task(caught_up.wait())
        await asyncio.wait({exited, looked}, return_when=asyncio.FIRST_COMPLETED)
        exited.cancel()
        looked.cancel()

    def _begin(self) -> None:
        """Call the bot, unless the session has been told to end meanwhile: then its process is on its way out."""
        if self._ordered:
            return
        self._expect_in_room()
        self._process.pipe.send(
            Begin(
                entry=self.claim.entry,
                holder=self._runner.name,
                launch=self._launch,
                renewed_at=self._renewed_at,
                opened=self._opened,
            )
        )
        self._trace.handed_over()
        for do in self._early or ():
            self._process.pipe.send(do)
        self._early = None

    def order(self, reason: Reason) -> None:
        """Have the bot leave its room for this reason; only the first order counts, and none after its own end."""
        if self._ordered or self._over:
            return
        self._ordered = reason
        self._expect_exit()
        self._report(Leaving(**self._whose(), reason=reason))
        # The process gets a little less, so that it can still say how it went.
        self._process.pipe.send(Stop(reason=reason, grace_s=self._settings.stop_grace_s * 0.8))

    def deliver(self, entry: str, command: Received) -> None:
        """Take a command to the bot, or act on it."""
        self._trace.deliver(entry, command)
        match command:
            case Leave(command_id=command_id):
                self._dismissed.set()
                self.order(Reason.LEFT)
                self._reply(entry, command, Reply(command_id=command_id, outcome=Outcome.DELIVERED))
            case Unreadable(command_id=command_id):
                reason, message = CommandReason.UNREADABLE, "not a command that a runner of this version can read"
                reply = Reply(command_id=command_id, outcome=Outcome.FAILED, reason=reason, message=message)
                self._log.error("command_unreadable", entry=entry, command_id=command_id)
                self._reply(entry, command, reply)
            case _:
                do = Do(entry=entry, command=command, due=self._runner.inbox.due(entry, command))
                if self._early is None:
                    self._process.pipe.send(do)
                else:
                    self._early.append(do)

    def renewed(self, at: float) -> None:
        """The lease was renewed, by a call that was made at this time."""
        self._renewed_at = at
        self._timers.set("fence", at + self._settings.fence_s, self._fence)
        if self._early is None:  # before, its launch will tell it, which must be the first that it hears
            self._process.pipe.send(Renewed(at=at))

    def lose(self) -> None:
        """The lease is another's: stop the bot now, and write nothing more."""
        if self._settled or self._lost:
            return
        self._count_loss("taken")
        self._log.warning("lease_lost")
        self._lost = True
        self._process.kill()

    def check_memory(self) -> None:
        """Stop a bot that uses more memory than a session may; it is replaced like one that died."""
        limit_mb = self._settings.session_memory_mb
        if limit_mb and not self._ordered and (used_mb := self._process.private_mb()) > limit_mb:
            self._log.warning("memory_limit", used_mb=used_mb, limit_mb=limit_mb)
            self._ordered = Reason.MEMORY_LIMIT
            self._process.kill()

    async def _follow(self) -> None:
        """Take what the process says, until it is gone."""
        while message := await self._process.pipe.receive():
            self._hear(message)
        # Without its pipe a process is good for nothing, whatever it still does.
        self._process.kill()
        await self._process.exited.wait()

    def _hear(self, message: ToSupervisor) -> None:
        match message:
            case Entering(begun_at=begun_at):
                self._process_s = round(begun_at - self._began, 6)
                self._timers.set("join", time.monotonic() + ENTERED_WITHIN_S, self._arrived)
            case InRoom(begun_at=begun_at):
                self._process_s = round(begun_at - self._began, 6)
                self._arrived()
            case Offered():
                self._waits_for_client = False
                self._expect_in_room()
            case Done(entry=entry, command=command, reply=reply):
                self._reply(entry, command, reply)
            case Happened():
                self._call_log.take(message)
            case Recorded() | Hidden():
                self._note(message)
            case Over():
                self._over = message
                self._expect_exit()
            case _:
                pass

    def _note(self, message: Recorded | Hidden) -> None:
        if isinstance(message, Recorded):
            self._trace.take(message)
        elif self._process.output:
            self._process.output.hide(message.secret)

    def _expect_in_room(self) -> None:
        """From now on it is on the bot to be in its room in time."""
        self._timers.set("join", time.monotonic() + self._settings.join_timeout_s, self._not_in_room)

    def _expect_exit(self) -> None:
        """All that can come in time from now on is the process's end."""
        self._timers.stop("join", "warn", "end")
        self._timers.set("kill", time.monotonic() + self._settings.stop_grace_s, self._kill)

    def _arrived(self) -> None:
        if self._ordered or self.running:
            return
        now = time.monotonic()
        self.running = True
        self._timers.stop("join")
        self._end_in(max(self._launch.max_duration_s - self._ran_s, 0.0), now)
        self._writes.put(self._write_running)
        self._trace.in_room()
        self._log.info("bot_in_room", after_s=round(now - self._began, 3))

    def _end_in(self, left_s: float, now: float) -> None:
        warning_s = min(self._settings.end_warning_s, left_s / 2)
        warn = partial(self._process.pipe.send, EndsSoon(left_s=warning_s))
        self._timers.set("warn", now + left_s - warning_s, warn)
        self._timers.set("end", now + left_s, partial(self.order, Reason.MAX_DURATION))

    def _not_in_room(self) -> None:
        self.order(Reason.NO_CLIENT if self._waits_for_client else Reason.JOIN_TIMEOUT)

    def _kill(self) -> None:
        self._log.warning("bot_killed", reason=self._ordered, grace_s=self._settings.stop_grace_s)
        self._process.kill()

    def _fence(self) -> None:
        """The lease was not renewed for too long: another may have the session soon."""
        self._log.warning("fenced", unrenewed_s=round(time.monotonic() - self._renewed_at, 1))
        self._count_loss("fenced")
        self._ordered = self._ordered or Reason.LEASE_LOST
        self._process.kill()

    def _count_loss(self, how: Literal["taken", "fenced"]) -> None:
        """A lease that could not be renewed is mostly another's soon: it counts once, as what was seen first."""
        if not self._loss_counted:
            self._loss_counted = True
            self._runner.leases_lost[how] += 1

    async def _settle(self) -> bool:
        self._timers.close()
        if self._lost:
            return False
        reason, message = verdict(self._ordered, self._over, self._process.exit, self._settings)
        following = conclude(self._launch, reason, message, self._settings.max_attempts)
        # Told to end before the next attempt, the session has none.
        if isinstance(following, Launch) and await happens_within(self._dismissed, self._pause_s(reason)):
            following = conclude(self._launch, Reason.LEFT, "", self._settings.max_attempts)
        self._trace.over(reason, well=isinstance(following, Ended))
        tell = self._log.info if isinstance(following, Ended) else self._log.warning
        tell("attempt_over", reason=reason, message=message, next=type(following).__name__.lower())
        # Afterwards the lease is gone.
        self._writes.put(self._call_log.write)
        self._writes.put(partial(self._write_settlement, following))
        return not isinstance(following, Launch)

    def _pause_s(self, reason: Reason) -> float:
        if reason in {Reason.RUNNER_STOPPED, Reason.LEASE_LOST}:
            return 0.0
        return pause_s(self._launch.attempt, time.monotonic() - self._began)

    async def _write_settlement(self, following: Launch | Ended | Failed) -> None:
        self._settled = True
        # Before the next attempt can be claimed, perhaps by this very runner.
        await self._runner.inbox.hand_over(self._launch.session_id, self._launch.attempt)
        if not await self._runner.launches.settle(self.claim, self._runner.name, following):
            if not self._lost:
                self._log.warning("lease_lost", while_settling=True)
            self._count_loss("taken")

    async def _listen_for_commands(self) -> None:
        if self._lost:
            return
        for entry, command in await self._runner.inbox.open(self._launch.session_id, self._launch.attempt):
            self.deliver(entry, command)

    def _report(self, event: AnyEvent) -> None:
        self._writes.put(partial(self._write, event))

    async def _write(self, event: AnyEvent) -> None:
        if not self._lost and not await self._runner.launches.report(self.claim, self._runner.name, event):
            self.lose()

    async def _write_running(self) -> None:
        claimed_ago_s = round(time.monotonic() - self._began, 6)
        await self._write(Running(**self._whose(), claimed_ago_s=claimed_ago_s, process_s=self._process_s))

    def _reply(self, entry: str, command: Received, reply: Reply) -> None:
        """Also when the lease is lost: what the bot has had, it has had."""
        self._trace.delivered(entry, reply)
        write = partial(self._runner.inbox.reply, self._launch.session_id, entry, command, reply)
        self._writes.put(partial(write, attempt=self._launch.attempt))

    def _whose(self) -> dict[str, Any]:
        return {"session_id": self._launch.session_id, "attempt": self._launch.attempt}
