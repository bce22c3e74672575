"""Ten minutes of conversation, replayed at speed."""

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr  # type: ignore[import-untyped]
from pipecat.frames.frames import BotStoppedSpeakingFrame, Frame, InputAudioRawFrame, OutputAudioRawFrame, StartFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.types import RunnerArguments
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams

from services.runner.bots import assistant
from services.runner.bots.offline_stt import SAMPLE_RATE_HZ
from tests.speech import speech
from tests.webrtc_peer import MICROPHONE_RATE_HZ

QUESTIONS = ("What time is it?", "How much is twelve plus thirty?", "Tell me a story about dragons.")
WARMING = 12
TURNS = 120
"""With the greeting, about six seconds of question and answer each: more than ten minutes."""
BOUND_MB = 12.0
"""By which the session's process may grow in these ten minutes: what is kept of a conversation is its text."""
FRAME = SAMPLE_RATE_HZ // 50 * 2


class Ears(BaseInputTransport):
    """Takes sound at ten times its speed."""

    def __init__(self, params: TransportParams) -> None:
        super().__init__(params)
        self.open = asyncio.Event()

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self.open.set()

    async def hear(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), FRAME):
            await self.push_audio_frame(InputAudioRawFrame(pcm[start : start + FRAME], SAMPLE_RATE_HZ, 1))
            # A microphone's clock, ten times as fast: who detects speech must keep up with who records it.
            await asyncio.sleep(0.002)


class Mouth(BaseOutputTransport):
    """Speaks as fast as it can."""

    spoken_s = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self.spoken_s += len(frame.audio) / 2 / frame.sample_rate
        return True


class Fast(BaseTransport):
    """A transport without a clock."""

    def __init__(self) -> None:
        super().__init__()
        params = TransportParams(audio_in_enabled=True, audio_out_enabled=True)
        self.ears, self.mouth = Ears(params), Mouth(params)
        self._register_event_handler("on_client_connected")
        self._register_event_handler("on_client_disconnected")

    def input(self) -> FrameProcessor:
        return self.ears

    def output(self) -> FrameProcessor:
        return self.mouth


def private_mb() -> float:
    """What this process has for itself."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_ten_minutes_of_conversation_cost_little_memory(
    monkeypatch: pytest.MonkeyPatch, tell: Callable[..., None]
) -> None:
    transport = Fast()
    answered = asyncio.Event()

    async def made(*_: Any) -> BaseTransport:
        return transport

    async def process_frame(self: assistant.WrapUp, frame: Frame, direction: FrameDirection) -> None:
        await processed(self, frame, direction)
        if isinstance(frame, BotStoppedSpeakingFrame):
            answered.set()

    processed = assistant.WrapUp.process_frame
    monkeypatch.setattr(assistant, "_transport", made)
    monkeypatch.setattr(assistant.WrapUp, "process_frame", process_frame)
    running = asyncio.create_task(assistant.bot(RunnerArguments()))
    silence = bytes(2 * SAMPLE_RATE_HZ)
    sounds = [
        soxr.resample(np.frombuffer(speech(text), np.int16), MICROPHONE_RATE_HZ, SAMPLE_RATE_HZ)
        .astype(np.int16)
        .tobytes()
        for text in QUESTIONS
    ]
    before, heard_s = 0.0, 0.0
    try:
        async with asyncio.timeout(30):
            await transport.ears.open.wait()
        await transport._call_event_handler("on_client_connected", None)
        for turn in range(TURNS):
            async with asyncio.timeout(30):
                await answered.wait()
            answered.clear()
            if turn == WARMING:
                before, heard_s, transport.mouth.spoken_s = private_mb(), 0.0, 0.0
            sound = silence + sounds[turn % len(sounds)] + silence
            heard_s += len(sound) / 2 / SAMPLE_RATE_HZ
            await transport.ears.hear(sound)
        grown = private_mb() - before
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    tell(
        f"{grown:.1f} MB grown in {heard_s + transport.mouth.spoken_s:.0f} s of conversation", under="assistant, memory"
    )
    assert heard_s + transport.mouth.spoken_s > 600
    assert grown < BOUND_MB
