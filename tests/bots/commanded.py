"""A bot that records every command that it is given, and who gave it to whom.

Each line of the file BOT_RECORD is JSON: session, attempt, pid, command id, and what came. Its body's `handler` says
what its own handler does: `take` (which it does if nothing is said), `raise`, or `none` for a bot without one; `finish`
ends the pipeline when the first command has come, and the bot stays; `hold` returns when the pipeline has ended;
`cancelled` waits for a task of its own that was cancelled.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from pipecat.frames.frames import EndFrame, Frame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.types import RunnerArguments
from pipecat.workers.runner import WorkerRunner


class Recorder(FrameProcessor):
    """Records the frames that came from outside."""

    def __init__(self, about: dict[str, Any]) -> None:
        super().__init__()
        self._about = about

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Record it, and let it pass."""
        await super().process_frame(frame, direction)
        if command := frame.metadata.get("pipefleet"):
            record(self._about, command["command_id"], type(frame).__name__)
        await self.push_frame(frame, direction)


def record(about: dict[str, Any], command_id: str, what: Any) -> None:
    """One line, in one write, so that the lines of several processes do not mix."""
    line = [about["session_id"], about["attempt"], os.getpid(), command_id, what]
    with Path(os.environ["BOT_RECORD"]).open("a") as file:
        file.write(json.dumps(line) + "\n")


async def bot(args: RunnerArguments) -> None:
    """Run until told to leave."""
    body: dict[str, Any] = args.body or {}
    about = body["pipefleet"]
    worker = PipelineWorker(Pipeline([Recorder(about)]), idle_timeout_secs=None)

    async def on_command(command_id: str, data: Any) -> None:
        record(about, command_id, data)
        if body.get("handler") == "raise":
            raise ValueError(f"no {data}")
        while body.get("handler") == "hold" and not worker.has_finished():
            await asyncio.sleep(0.01)
        if body.get("handler") == "cancelled":
            job = asyncio.create_task(asyncio.Event().wait())
            job.cancel()
            await job
        if body.get("handler") == "finish":
            await worker.queue_frame(EndFrame())

    if body.get("handler") != "none":
        worker.on_command = on_command  # type: ignore[attr-defined]
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
    await runner.add_workers(worker)
    await runner.run()
    record(about, "", "finished")
    await asyncio.Event().wait()
