"""The built-in bot in real calls: a WebRTC peer on this machine talks to it and listens to what it says."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from pipecat.frames.frames import (
    Frame,
    LLMMessagesAppendFrame,
    TTSSpeakFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.worker import PipelineWorker
from pipecat.runner.types import RunnerArguments, SmallWebRTCRunnerArguments
from pipecat.tests.utils import run_test
from pipecat.transports.daily.transport import DailyTransport
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection

from services.runner.bots import greeter
from tests.speech import speech
from tests.webrtc_peer import CallEndedError, WebRTCPeer

# Long, and without any punctuation that would make a pause.
ENDLESS_GREETING = "banana " * 100


@asynccontextmanager
async def call(body: object = None) -> AsyncGenerator[WebRTCPeer]:
    """Run the bot and call it; in the end, when the peer has hung up, the bot must return by itself."""
    connection = SmallWebRTCConnection()

    async def signal(offer: Mapping[str, str]) -> Mapping[str, str]:
        await connection.initialize(sdp=offer["sdp"], type=offer["type"])
        answer: Mapping[str, str] = connection.get_answer()  # type: ignore[no-untyped-call]
        return answer

    async with WebRTCPeer(signal) as peer:
        arguments = SmallWebRTCRunnerArguments(webrtc_connection=connection, body=body)
        running = asyncio.create_task(greeter.bot(arguments))
        try:
            yield peer
        finally:
            await peer.hang_up()
            async with asyncio.timeout(10):
                await running
            # Pipecat leaves the watcher of the audio track to end by itself, two seconds later.
            await connection.disconnect()  # type: ignore[no-untyped-call]


def texts_spoken(peer: WebRTCPeer) -> list[str]:
    """What Pipecat told its client that the bot said."""
    messages = [json.loads(message) for message in peer.messages]
    return [message["data"]["text"] for message in messages if message["type"] == "bot-tts-text"]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[PipelineWorker]:
    """The workers that the bot makes, for those who speak to it from outside."""
    made: list[PipelineWorker] = []

    class KeptPipelineWorker(PipelineWorker):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(greeter, "PipelineWorker", KeptPipelineWorker)
    return made


async def test_a_caller_is_greeted_and_answered_and_hanging_up_ends_the_bot() -> None:
    async with call() as peer:
        await peer.wait_for_sound()
        await peer.wait_for_silence()
        peer.speak(speech("Thank you very much."))
        await peer.wait_until_spoken()
        await peer.wait_for_sound()
        await peer.wait_for_silence()
        peer.speak(speech("Thank you very much."))
        await peer.wait_until_spoken()
        await peer.wait_for_sound()
        await peer.wait_for_silence()
    greeting, first, second = texts_spoken(peer)
    assert greeting == greeter.GREETING
    assert first.startswith("I heard you speak for ")
    assert second.startswith("That was turn number 2, ")


async def test_a_warmed_up_bot_greets_like_a_cold_one() -> None:
    greeter.warm_up()
    async with call() as peer:
        await peer.wait_for_sound()
    assert not greeter._warm_ears


async def test_the_greeting_can_be_given_with_the_call() -> None:
    async with call({"greeting": "Good evening."}) as peer:
        await peer.wait_for_sound()
        await peer.wait_for_silence()
    assert texts_spoken(peer) == ["Good evening."]


async def test_speaking_over_the_bot_silences_it() -> None:
    async with call({"greeting": ENDLESS_GREETING}) as peer:
        await peer.wait_for_sound()
        peer.speak(speech("Thank you very much."))
        await peer.wait_for_silence(lasting_s=0.4, timeout_s=5)
        await peer.wait_for_sound()


async def test_what_others_have_it_say_is_spoken_and_messages_are_acknowledged(workers: list[PipelineWorker]) -> None:
    async with call({"greeting": "Hello."}) as peer:
        await peer.wait_for_sound()
        await peer.wait_for_silence()
        await workers[0].queue_frame(TTSSpeakFrame("Five minutes left."))
        await peer.wait_for_sound()
        await peer.wait_for_silence()
        await workers[0].queue_frame(LLMMessagesAppendFrame(messages=[{"role": "user", "content": "dinner is ready"}]))
        await peer.wait_for_sound()
        await peer.wait_for_silence()
    assert texts_spoken(peer) == ["Hello.", "Five minutes left.", "I got your message: dinner is ready"]


async def test_a_cancelled_pipeline_hangs_up_on_the_caller(workers: list[PipelineWorker]) -> None:
    async with call() as peer:
        await peer.wait_for_sound()
        await workers[0].cancel()
        await peer.wait_for_end()
        with pytest.raises(CallEndedError):
            await peer.wait_for_silence(lasting_s=60)


async def test_arguments_for_another_transport_are_refused() -> None:
    with pytest.raises(ValueError, match="Unsupported"):
        await greeter.bot(RunnerArguments())


async def answers_to(*frames: Frame) -> list[str]:
    down, _ = await run_test(greeter.Responder(), frames_to_send=frames)
    return [frame.text for frame in down if isinstance(frame, TTSSpeakFrame)]


async def test_a_turn_is_as_long_as_the_speech_in_it_without_its_pauses() -> None:
    spoken = await answers_to(
        VADUserStartedSpeakingFrame(start_secs=0.2, timestamp=100.2),
        VADUserStoppedSpeakingFrame(stop_secs=0.2, timestamp=102.2),
        VADUserStartedSpeakingFrame(start_secs=0.2, timestamp=110.2),
        VADUserStoppedSpeakingFrame(stop_secs=0.2, timestamp=111.2),
        UserStoppedSpeakingFrame(),
        VADUserStartedSpeakingFrame(start_secs=0.2, timestamp=120.2),
        VADUserStoppedSpeakingFrame(stop_secs=0.2, timestamp=121.7),
        UserStoppedSpeakingFrame(),
    )
    assert spoken == [greeter.answer(1, 3.0), greeter.answer(2, 1.5)]
    assert "3.0 seconds" in spoken[0]
    assert "number 2" in spoken[1]
    assert "1.5 seconds" in spoken[1]


async def test_a_message_without_text_is_acknowledged_too() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    assert await answers_to(LLMMessagesAppendFrame(messages=cast("Any", [image]))) == [greeter.acknowledgement("")]


@pytest.mark.parametrize("body", [None, "hello", {}, {"greeting": ""}, {"greeting": 7}])
def test_a_body_without_a_usable_greeting_leaves_the_usual_one(body: object) -> None:
    assert greeter._greeting(body) == greeter.GREETING


async def test_two_calls_in_one_process_do_not_share_their_ears() -> None:
    greeter.warm_up()
    first, second = await greeter._take_ears(), await greeter._take_ears()
    assert first.voice_activity is not second.voice_activity
    assert first.smart_turn is not second.smart_turn


class Room(DailyTransport):
    """A room known only by who is in it."""

    def __init__(self, *present: str) -> None:
        super().__init__("https://example.daily.co/room", None, "bot")
        self.present = present

    def participants(self) -> Mapping[str, Any]:
        return {name: {} for name in self.present}


class Cancelled:
    """In the place of a worker: notes that it was cancelled."""

    def __init__(self) -> None:
        self.is_cancelled = False

    async def cancel(self, *, reason: str | None = None) -> None:
        self.is_cancelled = True


@pytest.mark.parametrize(
    ("present", "ends"),
    [(["local", "ann", "bob"], False), (["local", "ann"], True), (["local"], True)],
)
async def test_a_call_in_a_room_ends_when_the_last_one_leaves(present: list[str], ends: bool) -> None:
    room, worker = Room(*present), Cancelled()
    greeter._cancel_on_departure(room, cast("PipelineWorker", worker))
    await room._on_participant_left({"id": "ann"}, "leftCall")  # type: ignore[no-untyped-call]
    await asyncio.gather(*(task for _, task in room._event_tasks))
    assert worker.is_cancelled is ends


PROBE = """
import os, socket
def state(): return len(os.listdir('/proc/self/task')), [fd for fd in os.listdir('/proc/self/fd') if is_socket(fd)]
def is_socket(fd):
    try: return os.readlink('/proc/self/fd/' + fd).startswith('socket:')
    except FileNotFoundError: return False
from services.runner.bots import greeter
assert state() == (1, []), state()
assert not greeter._warm_ears
greeter.warm_up()
assert state() == (1, []), state()
"""


def test_importing_and_warming_up_starts_no_thread_and_opens_no_connection() -> None:
    """The telemetry of onnxruntime does both; a process that forks must have one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    probe = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=False)
    assert probe.returncode == 0, probe.stderr
