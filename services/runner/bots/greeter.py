"""The bot that comes with the fleet and needs no account: it greets, listens, and answers every turn by voice.

It is an ordinary Pipecat bot file and runs unchanged under Pipecat's own runner. There is no speech recognition: it
hears that somebody speaks, and for how long, knows when they are done (Silero and smart turn), and says so.

A TTSSpeakFrame from outside (the fleet's `say`) is spoken, an LLMMessagesAppendFrame (its `message`) is acknowledged
by voice. ``runner_args.body`` may be an object with the ``greeting`` to use.
"""

import asyncio
import os
from dataclasses import dataclass
from typing import Any

# Keeps create_transport, which imports on demand, from importing in every forked process anew.
import pipecat.transports.smallwebrtc.transport  # noqa: F401
from pipecat.frames.frames import (
    Frame,
    LLMMessagesAppendFrame,
    TTSSpeakFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import standard_message_text
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.transports.daily.transport import DailyParams, DailyTransport
from pipecat.turns.user_start import VADUserTurnStartStrategy
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy
from pipecat.turns.user_turn_processor import UserTurnProcessor
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

from services.runner.bots import espeak_tts

# onnxruntime reports to its maker over the network by default, from a thread that its import starts.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251 - a bot file runs without the fleet, too
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer

GREETING = "Hello, I am your Pipefleet bot. Say something, and I will answer."

_TRANSPORTS = {
    "daily": lambda: DailyParams(audio_in_enabled=True, audio_out_enabled=True),
    "webrtc": lambda: TransportParams(audio_in_enabled=True, audio_out_enabled=True),
}


async def bot(runner_args: RunnerArguments) -> None:
    """Serve one call in a Daily room or on a WebRTC connection; returns when the caller, or the last one, has left.

    Raises:
        ValueError: The arguments are for another transport.
    """
    transport = await create_transport(runner_args, _TRANSPORTS)
    worker = PipelineWorker(
        _pipeline(transport, await _take_ears()),
        params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
        idle_timeout_secs=runner_args.pipeline_idle_timeout_secs,
    )
    _greet_on_arrival(transport, worker, _greeting(runner_args.body))
    _cancel_on_departure(transport, worker)
    # Signals belong to whoever runs this process.
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
    await runner.add_workers(worker)
    await runner.run()


def warm_up() -> None:
    """Load what the next `bot` in this process needs, so that it starts at once; optional.

    Blocks for about a tenth of a second. Starts no thread and opens no connection.
    """
    if not _warm_ears:
        _warm_ears.append(_load_ears())
    espeak_tts.load()


@dataclass(frozen=True)
class _Ears:
    """The models that listen. They remember what they heard, so each call needs its own."""

    voice_activity: SileroVADAnalyzer
    smart_turn: LocalSmartTurnAnalyzerV3


_warm_ears: list[_Ears] = []


def _load_ears() -> _Ears:
    return _Ears(voice_activity=SileroVADAnalyzer(), smart_turn=LocalSmartTurnAnalyzerV3())


async def _take_ears() -> _Ears:
    if _warm_ears:
        return _warm_ears.pop()
    # Pipecat's own runner has other calls on this loop.
    return await asyncio.to_thread(_load_ears)


def _pipeline(transport: BaseTransport, ears: _Ears) -> Pipeline:
    turns = UserTurnStrategies(
        start=[VADUserTurnStartStrategy()],
        stop=[TurnAnalyzerUserTurnStopStrategy(turn_analyzer=ears.smart_turn, wait_for_transcript=False)],
    )
    return Pipeline(
        [
            transport.input(),
            VADProcessor(vad_analyzer=ears.voice_activity),
            UserTurnProcessor(user_turn_strategies=turns),
            Responder(),
            espeak_tts.EspeakTTSService(),
            transport.output(),
        ]
    )


def _greeting(body: object) -> str:
    greeting = body.get("greeting") if isinstance(body, dict) else None
    return greeting if isinstance(greeting, str) and greeting.strip() else GREETING


def _greet_on_arrival(transport: BaseTransport, worker: PipelineWorker, greeting: str) -> None:
    async def greet(_transport: BaseTransport, _client: Any) -> None:
        await worker.queue_frame(TTSSpeakFrame(greeting))

    is_room = isinstance(transport, DailyTransport)
    transport.add_event_handler("on_first_participant_joined" if is_room else "on_client_connected", greet)


def _cancel_on_departure(transport: BaseTransport, worker: PipelineWorker) -> None:
    async def leave(_transport: BaseTransport, client: Any) -> None:
        # A room may hold several people: the call ends with the last of them.
        if isinstance(transport, DailyTransport) and set(transport.participants()) - {"local", client["id"]}:
            return
        await worker.cancel(reason="the client disconnected")

    transport.add_event_handler("on_client_disconnected", leave)


class Responder(FrameProcessor):
    """Answers each turn of the user, and each message sent to the bot, with something to speak.

    Stands between the processor that finds turns and the text to speech.
    """

    def __init__(self) -> None:
        """Start with no turn heard."""
        super().__init__()
        self._turns = 0
        self._heard_s = 0.0
        self._speech_began_at_s: float | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass every frame on, except messages, which end here as they do in front of an LLM."""
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMMessagesAppendFrame):
            text = " ".join(filter(None, map(standard_message_text, frame.messages)))
            await self.push_frame(TTSSpeakFrame(acknowledgement(text)))
            return
        await self.push_frame(frame, direction)
        if isinstance(frame, VADUserStartedSpeakingFrame):
            self._speech_began_at_s = frame.timestamp - frame.start_secs
        elif isinstance(frame, VADUserStoppedSpeakingFrame) and self._speech_began_at_s is not None:
            self._heard_s += frame.timestamp - frame.stop_secs - self._speech_began_at_s
            self._speech_began_at_s = None
        elif isinstance(frame, UserStoppedSpeakingFrame):
            await self._answer_turn()

    async def _answer_turn(self) -> None:
        self._turns += 1
        heard_s, self._heard_s = self._heard_s, 0.0
        await self.push_frame(TTSSpeakFrame(answer(self._turns, heard_s)))


def answer(turn: int, heard_s: float) -> str:
    """Return what to say after the user's ``turn``-th turn, in which speech was heard for ``heard_s``."""
    length = f"{max(heard_s, 0.0):.1f} seconds"
    if turn == 1:
        return f"I heard you speak for {length}. Go on, and interrupt me whenever you like."
    return f"That was turn number {turn}, and it took {length}. What else?"


def acknowledgement(text: str) -> str:
    """Return what to say to a message with this ``text``."""
    return f"I got your message: {text}" if text.strip() else "I got a message without any text."


if __name__ == "__main__":  # under Pipecat's own runner: python -m services.runner.bots.greeter -t webrtc
    from pipecat.runner.run import main

    main()
