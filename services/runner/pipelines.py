"""The pipelines of this process's bot, as Pipecat's setup hook shows them: some of their frames are news."""

import asyncio
import sys

from pipecat.frames.frames import (
    BotConnectedFrame,
    ClientConnectedFrame,
    ErrorFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.worker import PipelineWorker
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.workers.runner import WorkerRunner

from services.runner.frames import SessionEndingFrame


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
        self._has_worker = asyncio.Event()
        self._runners: list[WorkerRunner] = []

    def add_runner(self, runner: WorkerRunner) -> None:
        """Remember a runner, to cancel it when the bot has to leave."""
        self._runners.append(runner)

    def add_worker(self, worker: PipelineWorker) -> None:
        """Watch a pipeline. The first that works is the one that commands go to."""
        self.workers.append(worker)
        self._has_worker.set()
        worker.add_observer(_Arrival(self))
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


class _Arrival(BaseObserver):
    """Waits for the frame that says that the bot is in its room, or the error that says that it will not be."""

    def __init__(self, seen: Seen) -> None:
        super().__init__(observe_every_push=False)
        self._seen = seen

    async def on_push_frame(self, data: FramePushed) -> None:
        match data.frame:
            case BotConnectedFrame() | ClientConnectedFrame():
                self._seen.in_room.set()
            case ErrorFrame(processor=BaseInputTransport() | BaseOutputTransport()) as frame:
                if not self._seen.in_room.is_set():
                    self._seen.join_error.put_nowait(frame.error)


seen = Seen()
"""This process's. It is empty until the bot has made a pipeline."""
