"""A bot with a pipeline and no transport: it records the frames of ours that go through it."""

import os
from pathlib import Path

from pipecat.frames.frames import Frame, LLMMessagesAppendFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.types import RunnerArguments
from pipecat.workers.runner import WorkerRunner

from services.runner.frames import SessionEndingFrame


class Recorder(FrameProcessor):
    """Writes a line for each frame that came from outside."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Record it, and let it pass."""
        await super().process_frame(frame, direction)
        match frame:
            case SessionEndingFrame(left_s=left_s):
                record(f"ends in {left_s:g}")
            case TTSSpeakFrame(text=text):
                record(f"say {text}")
            case LLMMessagesAppendFrame(messages=messages, run_llm=run_llm):
                record(f"message {messages[0]['content']} {run_llm}")  # type: ignore[index]
            case _:
                pass
        await self.push_frame(frame, direction)


def record(line: str) -> None:
    """One line into BOT_RECORD."""
    with Path(os.environ["BOT_RECORD"]).open("a") as file:
        file.write(line + "\n")


async def bot(args: RunnerArguments) -> None:
    """Run until told to leave."""
    worker = PipelineWorker(Pipeline([Recorder()]), idle_timeout_secs=args.pipeline_idle_timeout_secs)
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
    await runner.add_workers(worker)
    await runner.run()
    record("returned")
