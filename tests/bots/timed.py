"""A bot that says when it was given what to speak: by the fleet's `say`, and by a list that it polls each half second.

Polling is what the original did. Each line of the file BOT_RECORD is what was said and the monotonic time at which it
was queued in the pipeline.
"""

import asyncio
import os
import time
from pathlib import Path

import redis.asyncio
from pipecat.frames.frames import Frame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.types import RunnerArguments
from pipecat.workers.runner import WorkerRunner

POLL_EVERY_S = 0.5


class Recorder(FrameProcessor):
    """The first processor, which gets a frame as soon as it is queued."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Record what is to be said, and when."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSSpeakFrame):
            record(f"{frame.text} {time.monotonic():.6f}")
        await self.push_frame(frame, direction)


def record(line: str) -> None:
    """One line into BOT_RECORD."""
    with Path(os.environ["BOT_RECORD"]).open("a") as file:
        file.write(line + "\n")


async def bot(args: RunnerArguments) -> None:
    """Run until told to leave."""
    worker = PipelineWorker(Pipeline([Recorder()]), idle_timeout_secs=None)
    polling = asyncio.create_task(poll(worker, f"list:{args.session_id}"))
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
    await runner.add_workers(worker)
    try:
        await runner.run()
    finally:
        polling.cancel()


async def poll(worker: PipelineWorker, key: str) -> None:
    """Look into the list each half second, as the original's bot did."""
    async with redis.asyncio.from_url(os.environ["REDIS_URL"], decode_responses=True) as client:
        while True:
            while text := await client.lpop(key):
                await worker.queue_frame(TTSSpeakFrame(text=str(text)))
            await asyncio.sleep(POLL_EVERY_S)
