"""The process of one session: forked warm, given one launch, thrown away.

It lives on its pipe. When its supervisor is gone, or the lease was not renewed up to the fence, the bot leaves its room
and the session is handed back, as the process's last act. If the bot does not even let the event loop turn, the kernel
ends the process before anyone else may have the lease.
"""

import asyncio
import gc
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
import structlog
from pipecat.runner.types import RunnerArguments

from services.runner import bot_arguments, bot_logs
from services.runner.bot_source import BotImportError, explain, load, readable
from services.runner.conclusion import conclude
from services.runner.handing_back import hand_back
from services.runner.kernel_timer import KernelTimer
from services.runner.pipe import (
    READY_WITHIN_S,
    Begin,
    Do,
    Done,
    EndsSoon,
    Entering,
    Forked,
    InRoom,
    Offered,
    Over,
    Pipe,
    Ready,
    Renewed,
    Stop,
    ToProcess,
    open_pipe,
)
from services.runner.process_names import SESSION_PROCESS, be_called
from services.runner.settings import RunnerSettings
from shared.contract import (
    AnyCommand,
    Candidates,
    Ended,
    Failed,
    Failure,
    Launch,
    Message,
    Offer,
    Outcome,
    Reason,
    Reply,
    Say,
)
from shared.errors import RoomRefused
from shared.launches import after

if TYPE_CHECKING:
    from services.runner.pipelines import Seen
    from services.runner.webrtc import Signalling

log = structlog.get_logger()

PIPELINES = "pipecat.pipeline.worker"
"""A bot that has imported this speaks through a pipeline, whose frames say when it is in its room."""
ARRIVES_DESPITE_ERROR_S = 1.0
"""A transport may complain of something lesser just before it says that it is connected."""

Bot = ModuleType | BotImportError


def main(end: socket.socket, bot: Bot | None, settings: RunnerSettings) -> NoReturn:
    """Be a session process, from the fork to the exit. Without a bot, import it first."""
    started = time.monotonic()
    os.setsid()
    be_called(SESSION_PROCESS)
    timer = KernelTimer()
    timer.kill_at(started + READY_WITHIN_S)
    end.sendall(msgspec.json.encode(Forked(pid=os.getpid())) + b"\n")
    gc.enable()
    _reseed()
    if bot is None:
        bot = _load(settings)
        bot_logs.setup(settings.log_level)
    asyncio.run(_serve(end, bot, settings, timer, started))
    _exit(0)


async def _serve(end: socket.socket, bot: Bot, settings: RunnerSettings, timer: KernelTimer, started: float) -> None:
    pipe: Pipe[ToProcess] = await open_pipe(end, ToProcess)
    timer.stop()
    pipe.send(Ready(after_s=time.monotonic() - started))
    begin = await pipe.receive()
    if isinstance(begin, Begin):
        await Session(pipe, begin, bot, settings, timer).run()


def _load(settings: RunnerSettings) -> Bot:
    try:
        return load(settings.bot)
    except BotImportError as error:
        return error


def _reseed() -> None:
    """Processes of one mould share no random numbers; Python sees to its own generator at the fork."""
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(random.SystemRandom().getrandbits(32))


class Session:
    """The one session of this process."""

    def __init__(
        self, pipe: Pipe[ToProcess], begin: Begin, bot: Bot, settings: RunnerSettings, timer: KernelTimer
    ) -> None:
        self._timer = timer
        self._pipe = pipe
        self._begin = begin
        self._launch = begin.launch
        self._bot = bot
        self._settings = settings
        self._renewed_at = begin.renewed_at
        self._in_room = asyncio.Event()
        self._signals: asyncio.Queue[Do] = asyncio.Queue()
        self._commands: asyncio.Queue[Do] = asyncio.Queue()
        self._signalling = _signalling() if begin.launch.transport == "webrtc" else None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """From the launch to its end, whoever brings it about."""
        bot_logs.bind(self._launch)
        self._arm_kernel()
        if time.monotonic() >= self._fence():
            _exit(1)  # the supervisor was frozen on its way here: another may have the session
        bot = self._start(self._call_bot())
        orders = self._start(self._listen())
        refused = self._start(self._wait_for_join_error())
        replaced = self._start(self._wait_for_replacement())
        self._start(self._wait_for_arrival())
        self._start(self._handle(self._signals, self._signal))
        self._start(self._handle(self._commands, self._command))
        await asyncio.wait({bot, orders, refused, replaced}, return_when=asyncio.FIRST_COMPLETED)

        if bot.done():
            over = bot.result()
        elif orders.done():
            over = await self._obey(orders.result(), bot)
        else:
            over = replaced.result() if replaced.done() else refused.result()
            await self._leave(bot, over.reason, self._settings.stop_grace_s)
        _flush()
        self._pipe.send(over)
        self._pipe.end()
        while isinstance(await orders, Stop):
            orders = self._start(self._listen())
        # The supervisor would have heard the end and ended this process, if it were there.
        if bot.done():
            await hand_back(self._begin, self._after(over), over.reason, self._settings)
        # Not the interpreter's way out: it would wait for whatever threads and tasks the bot has left behind.
        _exit(0)

    def _after(self, over: Over) -> Launch | Ended | Failed:
        return conclude(self._launch, over.reason, over.message, self._settings.max_attempts)

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        return task

    async def _call_bot(self) -> Over:
        if isinstance(self._bot, BotImportError):
            return Over(reason=Reason.BOT_IMPORT_ERROR, message=str(self._bot))
        try:
            arguments = await self._arguments()
        except RoomRefused as error:
            return Over(reason=Reason.JOIN_FAILED, message=bot_logs.without_secrets(str(error)))
        arrival = None
        if self._launch.transport == "none" or PIPELINES not in sys.modules:
            self._pipe.send(Entering())
            # After the bot's first step, and not at all if that was its last.
            arrival = asyncio.get_running_loop().call_soon(self._arrive)
        try:
            await self._bot.bot(arguments)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and _told_to_stop():
                raise
            return _raised(error)
        finally:
            if arrival:
                arrival.cancel()
        return Over(reason=Reason.COMPLETED)

    async def _arguments(self) -> RunnerArguments:
        """For the launch's transport; for WebRTC there are none before a client has come."""
        if self._signalling is not None:
            connection, request_data = await self._signalling.offered()
            self._pipe.send(Offered())
            return bot_arguments.webrtc(self._launch, connection, request_data)
        if self._launch.transport == "daily":
            return await bot_arguments.daily(self._launch, self._settings)
        return bot_arguments.plain(self._launch)

    def _arrive(self) -> None:
        if not self._in_room.is_set():
            self._in_room.set()
            self._pipe.send(InRoom())

    async def _wait_for_arrival(self) -> None:
        if seen := _seen():
            await seen.in_room.wait()
            self._arrive()

    async def _wait_for_join_error(self) -> Over:
        """Give what kept the bot out of its room; for ever wait if nothing did."""
        seen = _seen()
        while seen is not None and self._launch.transport == "daily":
            message = await seen.join_error.get()
            try:
                async with asyncio.timeout(ARRIVES_DESPITE_ERROR_S):
                    await self._in_room.wait()
            except TimeoutError:
                return Over(reason=Reason.JOIN_FAILED, message=bot_logs.without_secrets(message))
        return await _never()

    async def _wait_for_replacement(self) -> Over:
        """Wait until a later attempt of this session is seen in the room: whatever we know, the lease is not ours."""
        seen = _seen()
        if seen is None or self._launch.transport != "daily":
            return await _never()
        from services.runner.daily_room import replaces  # noqa: PLC0415 - who has no Daily does not pay for it

        while not replaces(await seen.daily_users.get(), self._launch.session_id, self._launch.attempt):
            pass
        log.warning("replaced_in_room")
        return Over(reason=Reason.LEASE_LOST, message="a later attempt of this session joined the room")

    async def _listen(self) -> Stop | Failure:
        """Take the supervisor's messages until one says to stop, or none says to go on."""
        while True:
            try:
                async with asyncio.timeout_at(self._fence()):
                    message = await self._pipe.receive()
            except TimeoutError:
                return self._failure(Reason.LEASE_LOST, "its lease was not renewed")
            if message is None:
                return self._failure(Reason.RUNNER_LOST, "its runner's supervisor is gone")
            if isinstance(message, Stop):
                return message
            await self._take(message)

    async def _take(self, message: ToProcess) -> None:
        match message:
            case Do(command=Offer() | Candidates()):
                self._signals.put_nowait(message)
            case Do():
                self._commands.put_nowait(message)
            case Renewed(at=at):
                self._renewed_at = at
                self._arm_kernel()
            case EndsSoon(left_s=left_s):
                if seen := _seen():
                    await seen.ends_soon(left_s)

    def _failure(self, reason: Reason, message: str) -> Failure:
        return Failure(attempt=self._launch.attempt, reason=reason, message=message)

    def _fence(self) -> float:
        return self._renewed_at + self._settings.fence_s

    def _arm_kernel(self) -> None:
        """Let the kernel end a process whose loop does not turn, between the fence and the end of the lease."""
        self._timer.kill_at(self._fence() + self._leave_within_s() * 1.5)

    def _leave_within_s(self) -> float:
        return (self._settings.lease_s - self._settings.fence_s) / 2

    async def _obey(self, order: Stop | Failure, bot: asyncio.Task[Over]) -> Over:
        if isinstance(order, Stop):
            await self._leave(bot, order.reason, order.grace_s)
            return Over(reason=order.reason)
        log.warning("supervisor_lost", reason=order.reason)
        await self._leave(bot, order.reason, self._leave_within_s())
        if bot.done():
            following = after(self._launch, order, self._settings.max_attempts)
            await hand_back(self._begin, following, order.reason, self._settings)
        return _end_group()

    async def _leave(self, bot: asyncio.Task[Over], reason: Reason, within_s: float) -> None:
        """Have the pipelines leave their rooms; a bot that has none, or is not done by half of the time, is cancelled.

        A bot that is not done even then is left to whoever kills this process.
        """
        seen = _seen()
        if seen is not None and await seen.leave(reason):
            await asyncio.wait({bot}, timeout=within_s / 2)
        if not bot.done():
            bot.cancel()
            await asyncio.wait({bot}, timeout=within_s / 2)

    async def _handle(self, queue: asyncio.Queue[Do], handler: Any) -> None:
        while True:
            do = await queue.get()
            try:
                reply = await handler(do.command)
            except Exception as error:
                log.exception("command_failed", command=type(do.command).__name__)
                reply = _reply(do.command, Outcome.FAILED, explain(error))
            self._pipe.send(Done(entry=do.entry, command=do.command, reply=reply))

    async def _signal(self, command: Offer | Candidates) -> Reply:
        if self._signalling is None:
            return _reply(command, Outcome.FAILED, f"the session's transport is {self._launch.transport}, not webrtc")
        if isinstance(command, Offer):
            return await self._signalling.offer(command)
        return await self._signalling.candidates(command)

    async def _command(self, command: Say | Message) -> Reply:
        await self._in_room.wait()
        seen = _seen()
        if seen is None:
            return _reply(command, Outcome.UNHANDLED, "this bot has no pipeline")
        await seen.deliver(command)
        return _reply(command, Outcome.DELIVERED)


def _told_to_stop() -> bool:
    """Whether this task is being cancelled by us, and not by the bot's own doing."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _raised(error: BaseException) -> Over:
    """What an exception out of the bot's function means. Calling `sys.exit()` is not one: it ends the process."""
    if isinstance(error, SystemExit):
        if not error.code:
            return Over(reason=Reason.COMPLETED)
        said = readable(f"the bot called sys.exit({error.code!r})")
        return Over(reason=Reason.BOT_DIED, message=bot_logs.without_secrets(said))
    log.error("bot_raised", exc_info=error)
    return Over(reason=Reason.BOT_ERROR, message=bot_logs.without_secrets(explain(error)))


async def _never() -> Over:
    never: asyncio.Future[Over] = asyncio.get_running_loop().create_future()
    return await never


def _signalling() -> "Signalling":
    from services.runner.webrtc import Signalling  # noqa: PLC0415 - who has no WebRTC does not pay for it

    return Signalling()


def _seen() -> "Seen | None":
    """What Pipecat's hook has seen, if this bot has anything to do with pipelines."""
    if PIPELINES not in sys.modules:
        return None
    from services.runner.pipelines import seen  # noqa: PLC0415 - who has no pipeline does not pay for it

    return seen


def _reply(command: AnyCommand, outcome: Outcome, message: str = "") -> Reply:
    return Reply(command_id=command.command_id, outcome=outcome, message=message)


def _end_group() -> NoReturn:
    """End this process with all that the bot has started in its group; nobody else would, without a supervisor."""
    _flush()
    os.killpg(0, signal.SIGKILL)
    _exit(1)


def _exit(code: int) -> NoReturn:
    _flush()
    os._exit(code)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
