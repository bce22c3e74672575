"""The commands to this process's bot: each is brought to it in its turn, and what became of it is said.

Signalling does not wait for anything; all else waits until the bot is in its room.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

import structlog

from services.runner.cancellation import told_to_stop
from services.runner.pipe import Do, Done
from shared.contract import AnyCommand, Candidates, CommandReason, Launch, Offer, Outcome, Reply, ToBot

if TYPE_CHECKING:
    from services.runner.call.pipelines import Seen
    from services.runner.webrtc import Signalling

log = structlog.get_logger()


class Deliveries:
    """One session's. `seen` gives what Pipecat's hook has seen, or None for a bot without a pipeline."""

    def __init__(
        self,
        say: Callable[[Done], None],
        launch: Launch,
        signalling: "Signalling | None",
        in_room: asyncio.Event,
        seen: "Callable[[], Seen | None]",
    ) -> None:
        self._say = say
        self._launch = launch
        self._signalling = signalling
        self._in_room = in_room
        self._seen = seen
        self._signals: asyncio.Queue[Do] = asyncio.Queue()
        self._commands: asyncio.Queue[Do] = asyncio.Queue()

    def take(self, do: Do) -> None:
        """Accept a command; its turn comes."""
        queue = self._signals if isinstance(do.command, Offer | Candidates) else self._commands
        queue.put_nowait(do)

    async def signals(self) -> None:
        """Bring what a WebRTC client says, until cancelled."""
        await self._each(self._signals, self._signal)

    async def commands(self) -> None:
        """Bring the others, until cancelled."""
        await self._each(self._commands, self._command)

    async def _each(self, queue: asyncio.Queue[Do], deliver: Callable[[Do], Awaitable[Reply]]) -> None:
        while True:
            do = await queue.get()
            try:
                reply = await deliver(do)
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and told_to_stop():
                    raise
                log.exception("command_failed", command=type(do.command).__name__)
                # Without the error's own text, which may repeat the command.
                reply = _failed(do.command, CommandReason.BOT_ERROR, f"the bot raised {type(error).__name__}")
            self._say(Done(entry=do.entry, command=do.command, reply=reply))

    async def _signal(self, do: Do) -> Reply:
        match do.command:
            case Offer() as offer if self._signalling:
                return await self._signalling.offer(offer)
            case Candidates() as candidates if self._signalling:
                return await self._signalling.candidates(candidates)
        transport = self._launch.transport
        return _failed(do.command, CommandReason.REFUSED, f"the session's transport is {transport}, not webrtc")

    async def _command(self, do: Do) -> Reply:
        await self._in_room.wait()
        command, seen = cast("ToBot", do.command), self._seen()
        if seen:
            await seen.worker()  # its turn comes when there is a pipeline, which may be much later
        if do.due is not None and time.monotonic() >= do.due:
            return Reply(command_id=command.command_id, outcome=Outcome.EXPIRED)
        if seen is None:
            reason = CommandReason.NO_PIPELINE
            message = "this bot has no pipeline"
            return Reply(command_id=command.command_id, outcome=Outcome.UNHANDLED, reason=reason, message=message)
        from services.runner.commands.bot_commands import deliver  # noqa: PLC0415 - who has no pipeline does not pay for it

        return await deliver(command, seen)


def _failed(command: AnyCommand, reason: CommandReason, message: str) -> Reply:
    return Reply(command_id=command.command_id, outcome=Outcome.FAILED, reason=reason, message=message)
