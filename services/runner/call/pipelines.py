"""The pipelines of this process's bot, as Pipecat's setup hook shows them: some of their frames are news."""

import asyncio
import sys

import structlog
from pipecat.frames.frames import (
    BotConnectedFrame,
    BotStartedSpeakingFrame,
    ClientConnectedFrame,
    ErrorFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.worker import PipelineWorker
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.workers.runner import WorkerRunner

from services.runner.call.activity import outlet
from services.runner.call.call import ByType, Call
from services.runner.call.participants import participants
from services.runner.frames import SessionEndingFrame
from services.runner.tracing.session_spans import spans

log = structlog.get_logger()


class Seen:
    """What the hook has seen so far. A process runs one session, so there is one of these."""

    def __init__(self) -> None:
        self.in_room = asyncio.Event()
        """The transport said that the bot is connected, or a client with it."""
        self.join_error: asyncio.Queue[str] = asyncio.Queue()
        """What a transport complained about before the bot was in its room."""
        self.daily_users: asyncio.Queue[str] = asyncio.Queue()
        """Who joined the bot's Daily room, by `user_id`."""
        self.workers: list[PipelineWorker] = []
        self.call = Call(outlet)
        """What goes on between the bot and its users."""
        self._has_worker = asyncio.Event()
        self._runners: list[WorkerRunner] = []

    def add_runner(self, runner: WorkerRunner) -> None:
        """Remember a runner, to cancel it when the bot has to leave."""
        self._runners.append(runner)

    def add_worker(self, worker: PipelineWorker) -> None:
        """Watch a pipeline. The first that works is the one that commands go to."""
        self.workers.append(worker)
        self._has_worker.set()
        worker.add_observer(_Observer(self))
        participants.watch(worker.pipeline)
        if "pipecat.transports.daily.transport" in sys.modules:
            from services.runner import daily_room  # noqa: PLC0415 - who has no Daily does not pay for it

            daily_room.watch(worker.pipeline, self.daily_users.put)

    async def leave(self, reason: str) -> bool:
        """Cancel whatever runs, so that transports leave their rooms. False: there is nothing to cancel."""
        for runner in self._runners:
            await runner.cancel(reason)
        if not self._runners:
            for worker in self.workers:
                await worker.cancel(reason=reason)
        return self.has_any()

    def has_any(self) -> bool:
        """Whether this process's bot has begun to make a pipeline."""
        return bool(self._runners or self.workers)

    async def ends_soon(self, left_s: float) -> None:
        """Tell every pipeline that the session's longest time is nearly over."""
        for worker in self.workers:
            await worker.queue_frame(SessionEndingFrame(left_s=left_s))

    async def worker(self) -> PipelineWorker:
        """The first that has not come to its end, waited for: what a finished pipeline is given, nobody gets."""
        while True:
            await self._has_worker.wait()
            for worker in self.workers:
                if not worker.has_finished():
                    return worker
            self._has_worker.clear()


class _Observer(BaseObserver):
    """Looks at each frame once per pipeline. All audio goes past it, so it does nothing before it knows the type."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(observe_every_push=False)
        self._seen = seen
        self._acts = ByType(seen.call.acts)
        self._acts |= {BotConnectedFrame: self._arrived, ClientConnectedFrame: self._arrived, ErrorFrame: self._failed}
        self._acts[BotStartedSpeakingFrame] = self._spoke

    async def on_push_frame(self, data: FramePushed) -> None:
        if act := self._acts[type(data.frame)]:
            try:
                act(data.frame, data)
            except Exception:
                # A bot's own kind of frame, perhaps. Without this observer nobody would see the bot arrive.
                log.exception("frame_unread", frame=type(data.frame).__name__)

    def _arrived(self, *_: object) -> None:
        self._seen.in_room.set()

    def _spoke(self, frame: BotStartedSpeakingFrame, data: FramePushed) -> None:
        spans.spoke()
        self._seen.call.acts[BotStartedSpeakingFrame](frame, data)

    def _failed(self, frame: ErrorFrame, data: FramePushed) -> None:
        if isinstance(frame.processor, BaseInputTransport | BaseOutputTransport) and not self._seen.in_room.is_set():
            self._seen.join_error.put_nowait(frame.error)
        self._seen.call.acts[ErrorFrame](frame, data)


seen = Seen()
"""This process's. It is empty until the bot has made a pipeline."""
