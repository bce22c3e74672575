"""A bot with a pipeline and no transport, through which goes what its body lists as `frames`; then it stays.

With `workers` it has so many pipelines, and all of them get the same frames. With `flood` it tells the supervisor so
many things by itself, which no bot should.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    ErrorFrame,
    Frame,
    MetricsFrame,
    TranscriptionFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import LLMTokenUsage, LLMUsageMetricsData, TTFBMetricsData, TTSUsageMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.runner.types import RunnerArguments
from pipecat.workers.runner import WorkerRunner

USAGE = LLMTokenUsage(prompt_tokens=10, completion_tokens=5, total_tokens=15)


MADE: dict[str, Callable[[str], Frame]] = {
    "user": lambda text: TranscriptionFrame(text, "u", "now"),
    "bot": lambda text: TTSTextFrame(text, "sentence"),
    "ttfb": lambda text: MetricsFrame([TTFBMetricsData(processor="LLM#0", model="small", value=float(text))]),
    "tokens": lambda _: MetricsFrame([LLMUsageMetricsData(processor="LLM#0", model="small", value=USAGE)]),
    "characters": lambda text: MetricsFrame([TTSUsageMetricsData(processor="TTS#0", value=int(text))]),
    "error": ErrorFrame,
    "broken": lambda _: MetricsFrame(None),  # type: ignore[arg-type]
    "user_starts": lambda _: UserStartedSpeakingFrame(),
    "user_stops": lambda _: UserStoppedSpeakingFrame(),
    "bot_starts": lambda _: BotStartedSpeakingFrame(),
    "bot_stops": lambda _: BotStoppedSpeakingFrame(),
    "sound": lambda _: VADUserStartedSpeakingFrame(),
    "silence": lambda _: VADUserStoppedSpeakingFrame(),
}
"""Frames, by a word for them, and with the text after it."""


def made(what: str) -> Frame:
    kind, _, text = what.partition(" ")
    return MADE[kind](text)


async def bot(args: RunnerArguments) -> None:
    """Run until told to leave."""
    body: dict[str, Any] = args.body or {}
    count = body.get("workers", 1)
    workers = [PipelineWorker(Pipeline([IdentityFilter()])) for _ in range(count)]  # type: ignore[no-untyped-call]
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
    await runner.add_workers(*workers)
    running = asyncio.create_task(runner.run())
    for frame in [made(what) for what in body["frames"]]:
        for worker in workers:
            await worker.queue_frame(frame)
    if body.get("flood"):
        flood(body["flood"])
    await running


def flood(count: int) -> None:
    """What a bot could do that reaches for its process's own line to the supervisor."""
    from services.runner.call.activity import outlet  # noqa: PLC0415 - no honest bot does this
    from services.runner.pipe import Happened  # noqa: PLC0415
    from shared.contract import PipelineError  # noqa: PLC0415

    send = outlet._send
    assert send
    for _ in range(count):
        send(Happened(at=-1e9, activity=PipelineError(session_id="another", attempt=7, message="x" * 1000)))
