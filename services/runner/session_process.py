"""The process of one session: forked warm, given one launch, thrown away.

It lives on its pipe. When its supervisor is gone, or the lease was not renewed up to the fence, the bot leaves its room
and the session is handed back, as the process's last act. If the bot does not even let the event loop turn, the kernel
ends the process before anyone else may have the lease.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import structlog
from pipecat.runner.types import RunnerArguments

from services.runner import bot_arguments
from services.runner.bot_ends import Exited, exits, is_refused, is_replaced, raised, seen_by_hook
from services.runner.call.activity import outlet
from services.runner.cancellation import told_to_stop
from services.runner.commands.deliveries import Deliveries
from services.runner.conclusion import conclude
from services.runner.forking.kernel_timer import KernelTimer
from services.runner.handing_back import hand_back
from services.runner.loading.bot_source import Bot, BotImportError
from services.runner.logs import bot_logs
from services.runner.pipe import (
    Begin,
    Do,
    EndsSoon,
    Entering,
    InRoom,
    Offered,
    Over,
    Pipe,
    Renewed,
    Stop,
    ToProcess,
)
from services.runner.process_end import end_group, flush, leave_process
from services.runner.settings import RunnerSettings
from services.runner.tracing.session_spans import spans
from shared.contract import Launch, Reason
from shared.errors import RoomRefused

if TYPE_CHECKING:
    from services.runner.call.pipelines import Seen
    from services.runner.webrtc import Signalling

log = structlog.get_logger()


class Session:
    """The one session of this process."""

    def __init__(
        self,
        pipe: Pipe[ToProcess],
        begin: Begin,
        bot: Bot,
        settings: RunnerSettings,
        timer: KernelTimer,
        *,
        exited: Exited,
    ) -> None:
        self._timer = timer
        self._exited = exited
        self._pipe = pipe
        self._begin = begin
        self._begun_at = time.monotonic()
        self._launch = begin.opened or begin.launch
        self._bot = bot
        self._settings = settings
        self._renewed_at = begin.renewed_at
        self._in_room = asyncio.Event()
        self._signalling = _signalling(settings, begin.launch) if begin.launch.transport == "webrtc" else None
        self._deliveries = Deliveries(pipe.send, begin.launch, self._signalling, self._in_room, self._seen)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """From the launch to its end, whoever brings it about."""
        outlet.open(self._launch, self._pipe.send, transcripts=self._settings.events_transcripts)
        if self._settings.traces:
            from services.runner.tracing import bot_spans  # noqa: PLC0415 - who has no collector does not pay for it

            bot_spans.outlet.open(self._pipe.send)
        if time.monotonic() >= self._fence():
            leave_process(1)  # the supervisor was frozen on its way here: another may have the session
        bot, orders, refused, replaced, exited, commands = await self._start_all()
        await asyncio.wait({bot, orders, refused, replaced, exited}, return_when=asyncio.FIRST_COMPLETED)
        # A pipeline that is about to end would swallow them; they are the next bot's, or too late.
        commands.cancel()

        if bot.done():
            over = bot.result()
        elif orders.done():
            order = orders.result()
            if isinstance(order, Stop):
                orders = self._start(self._listen())  # renewals go on: the bot has its whole grace to leave
            over = await self._obey(order, bot)
        else:
            over = next(one.result() for one in (exited, replaced, refused) if one.done())
            await self._leave(bot, over.reason, self._settings.stop_grace_s)
        spans.over()
        flush()
        self._pipe.send(over)
        self._pipe.end()
        while isinstance(await orders, Stop):
            orders = self._start(self._listen())
        # The supervisor would have heard the end and ended this process, if it were there.
        await self._hand_back(bot, over)
        end_group()

    async def rehearse(self) -> None:
        """From the launch to a bot that returns at once, and no further."""
        bot, *_ = await self._start_all()
        await bot
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start_all(self) -> tuple[asyncio.Task[Any], ...]:
        """Call the bot, and heed whoever may have a say in how long it stays."""
        bot_logs.bind(self._launch)
        spans.begin(self._launch)
        self._arm_kernel()
        bot = self._start(self._call_bot())
        await asyncio.sleep(0)  # somebody waits for the bot, and for nothing else here
        orders = self._start(self._listen())
        refused = self._start(is_refused(self._launch, self._in_room))
        replaced = self._start(is_replaced(self._launch))
        exited = self._start(exits(self._exited))
        self._start(self._wait_for_arrival())
        self._start(self._deliveries.signals())
        commands = self._start(self._deliveries.commands())
        return bot, orders, refused, replaced, exited, commands

    def _seen(self) -> "Seen | None":
        """What the hook has seen of this bot; that of another agent may be why pipelines are imported."""
        seen = seen_by_hook()
        return seen if self._bot.has_pipelines or (seen and seen.has_any()) else None

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        return task

    async def _call_bot(self) -> Over:
        if isinstance(self._bot.module, BotImportError):
            return Over(reason=Reason.BOT_IMPORT_ERROR, message=self._bot.error)
        try:
            arguments = await self._arguments()
        except RoomRefused as error:
            return Over(reason=Reason.JOIN_FAILED, message=bot_logs.without_secrets(str(error)))
        arrival = None
        if self._launch.transport == "none" or not self._bot.has_pipelines:
            self._pipe.send(Entering(begun_at=self._begun_at))
            # After the bot's first step, and not at all if that was its last.
            arrival = asyncio.get_running_loop().call_soon(self._arrive)
        spans.entered()
        try:
            await self._bot.module.bot(arguments)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and told_to_stop():
                raise
            return raised(error)
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
            self._pipe.send(InRoom(begun_at=self._begun_at))
            spans.arrived()

    async def _wait_for_arrival(self) -> None:
        if self._signalling is not None:
            # A pipeline without an input sees no frame of it.
            await self._signalling.connected.wait()
            self._arrive()
        elif seen := seen_by_hook():
            await seen.in_room.wait()
            self._arrive()

    async def _listen(self) -> Stop | Over:
        """Take the supervisor's messages until one says to stop, or none says to go on."""
        while True:
            try:
                async with asyncio.timeout_at(self._fence()):
                    message = await self._pipe.receive()
            except TimeoutError:
                return Over(reason=Reason.LEASE_LOST, message="its lease was not renewed")
            if message is None:
                return Over(reason=Reason.RUNNER_LOST, message="its runner's supervisor is gone")
            if isinstance(message, Stop):
                return message
            await self._take(message)

    async def _take(self, message: ToProcess) -> None:
        match message:
            case Do():
                self._deliveries.take(message)
            case Renewed(at=at):
                self._renewed_at = at
                self._arm_kernel()
            case EndsSoon(left_s=left_s):
                if seen := seen_by_hook():
                    await seen.ends_soon(left_s)

    def _fence(self) -> float:
        return self._renewed_at + self._settings.fence_s

    def _arm_kernel(self) -> None:
        """Let the kernel end a process whose loop does not turn, between the fence and the end of the lease."""
        self._timer.kill_at(self._fence() + self._leave_within_s() * 1.5)

    def _leave_within_s(self) -> float:
        return (self._settings.lease_s - self._settings.fence_s) / 2

    async def _obey(self, order: Stop | Over, bot: asyncio.Task[Over]) -> Over:
        if isinstance(order, Stop):
            await self._leave(bot, order.reason, order.grace_s)
            return Over(reason=order.reason)
        log.warning("supervisor_lost", reason=order.reason)
        await self._leave(bot, order.reason, self._leave_within_s())
        await self._hand_back(bot, order)
        return end_group()

    async def _hand_back(self, bot: asyncio.Task[Over], over: Over) -> None:
        """Write what follows in the supervisor's place, unless the bot may still be in its room."""
        if bot.done():
            following = conclude(self._begin.launch, over.reason, over.message, self._settings.max_attempts)
            await hand_back(self._begin, following, over.reason, self._settings)

    async def _leave(self, bot: asyncio.Task[Over], reason: Reason, within_s: float) -> None:
        """Have the pipelines leave their rooms; a bot that has none, or is not done by half of the time, is cancelled.

        A bot that is not done even then is left to whoever kills this process.
        """
        seen = seen_by_hook()
        if seen is not None and await seen.leave(reason):
            await asyncio.wait({bot}, timeout=within_s / 2)
        if not bot.done():
            bot.cancel()
            await asyncio.wait({bot}, timeout=within_s / 2)


def _signalling(settings: RunnerSettings, launch: Launch) -> "Signalling":
    from services.runner.webrtc import Signalling  # noqa: PLC0415 - who has no WebRTC does not pay for it

    servers = settings.ice_servers_of(launch.session_id, time.time())
    for server in servers:
        bot_logs.hide(server.credential)
    return Signalling(servers)
