"""The assistant in real calls: a WebRTC peer on this machine talks to it and listens to what it says."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soxr  # type: ignore[import-untyped]
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.pipeline.worker import PipelineWorker
from pipecat.runner.types import DailyRunnerArguments, RunnerArguments, SmallWebRTCRunnerArguments
from pipecat.transports.daily.transport import DailyTransport
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection

from services.runner.bots import assistant, daily_calls, offline_stt, personas
from services.runner.bots.assistant_body import read_body
from services.runner.bots.assistant_settings import AssistantSettings
from services.runner.bots.empty_room import EmptyRoom
from services.runner.frames import SessionEndingFrame
from services.runner.refusal import LaunchRefused
from tests.fakes.openai_api import Call, Fail, FakeOpenAI, Say, fake_openai
from tests.speech import speech
from tests.waiting import until
from tests.webrtc_peer import EARPHONE_RATE_HZ, CallEndedError, WebRTCPeer

# Long, and without any punctuation that would make a pause.
ENDLESS = "banana " * 100
GREETING = "Hello, I am Pipefleet's assistant. How can I help you?"
QUESTION = "What is seven times six?"

TOOLS = '''
"""Tools of a test."""

async def get_table(params, guests: int) -> None:
    """Find a table.

    Args:
        guests: How many people want to sit there.
    """
    caller = params.app_resources["sessionUserName"]
    await params.result_callback({"table": 40 + guests, "for": caller})

async def _not_a_tool(params) -> None:
    """Nobody's business."""
'''


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of an assistant that nobody has configured; what a test sets holds for its calls."""
    for field in AssistantSettings.__struct_fields__:
        monkeypatch.delenv(field.removesuffix("_s").upper(), raising=False)
    assistant._house.cache_clear()
    assistant._warm_ears.clear()
    yield monkeypatch
    assistant._house.cache_clear()


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
        running = asyncio.create_task(assistant.bot(arguments))
        try:
            yield peer
        finally:
            await peer.hang_up()
            async with asyncio.timeout(10):
                await running
            # Pipecat leaves the watcher of the audio track to end by itself, two seconds later.
            await connection.disconnect()  # type: ignore[no-untyped-call]


def told(peer: WebRTCPeer, kind: str) -> list[str]:
    """The texts of one kind that Pipecat sent its client."""
    messages = [json.loads(message) for message in peer.messages]
    return [message["data"]["text"] for message in messages if message["type"] == kind]


def texts_spoken(peer: WebRTCPeer) -> list[str]:
    return told(peer, "bot-tts-text")


def measured(peer: WebRTCPeer) -> set[str]:
    """The services whose time to first byte Pipecat told its client."""
    messages = [json.loads(message) for message in peer.messages]
    metrics = [message["data"].get("ttfb", []) for message in messages if message["type"] == "metrics"]
    return {one["processor"].partition("#")[0] for some in metrics for one in some}


def transcript(pcm: bytes, grammar: str) -> str:
    """What PocketSphinx hears in what the peer heard; with a grammar of its own, for it has to know what to expect."""
    at_16_khz = soxr.resample(np.frombuffer(pcm, np.int16), EARPHONE_RATE_HZ, offline_stt.SAMPLE_RATE_HZ)
    sound = offline_stt._without_silence(at_16_khz.astype(np.int16).tobytes())
    decoder = offline_stt._decoder()
    decoder.add_jsgf_string("answers", grammar)
    try:
        heard = offline_stt._decoded("answers", [sound], whole=True).hyp()
    finally:
        decoder.activate_search("questions")
        decoder.remove_search("answers")
    return heard.hypstr if heard else ""


ANSWERS = """#JSGF V1.0;
grammar answers;
<digit> = one | two | three | four | five | six | seven | eight | nine;
<tens> = twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety;
<number> = <digit> | ten | eleven | twelve | <tens> [<digit>] | <digit> hundred [and <tens>];
public <answer> = <number> (plus | minus | times) <number> is <number>;
"""


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[PipelineWorker]:
    """The workers that the bot makes, for those who speak to it from outside."""
    made: list[PipelineWorker] = []

    class KeptPipelineWorker(PipelineWorker):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(assistant, "PipelineWorker", KeptPipelineWorker)
    return made


async def test_without_any_account_a_spoken_question_gets_the_right_spoken_answer(tell: Callable[..., None]) -> None:
    assistant.warm_up()
    async with call() as peer:
        await peer.wait_for_sound()
        await peer.wait_for_silence()
        before = len(peer.heard)
        peer.speak(speech(QUESTION, "f5"))
        await peer.wait_until_spoken()
        asked_at = time.monotonic()
        await peer.wait_for_sound()
        latency_s = time.monotonic() - asked_at
        await peer.wait_for_silence()
    tell(f"{latency_s:.2f} s from the end of the question to the first sound of the answer", under="assistant, offline")
    assert texts_spoken(peer) == [GREETING, "seven times six is forty two."]
    assert {"OfflineSTTService", "OfflineLLMService", "EspeakTTSService"} <= measured(peer)
    assert "forty two" in transcript(peer.heard[before:].tobytes(), ANSWERS)


async def test_speaking_over_the_bot_silences_it() -> None:
    async with call({"greeting": ENDLESS}) as peer:
        await peer.wait_for_sound()
        peer.speak(speech("Thank you very much."))
        await peer.wait_for_silence(lasting_s=0.4, timeout_s=15)
        await peer.wait_for_sound()
        await peer.wait_for_silence()
    assert told(peer, "user-transcription") == ["thank you very much"]
    assert texts_spoken(peer)[-1] == "You are welcome."


async def test_what_others_have_it_say_is_spoken_and_it_says_so_when_its_time_is_nearly_over(
    workers: list[PipelineWorker],
) -> None:
    async with call({"greeting": "Hello."}) as peer:
        await peer.wait_for_sound()
        await peer.wait_for_silence()
        await workers[0].queue_frame(TTSSpeakFrame("Five minutes left."))
        await peer.wait_for_sound()
        await peer.wait_for_silence()
        await workers[0].queue_frame(SessionEndingFrame(left_s=59.7))
        await peer.wait_for_sound()
        await peer.wait_for_silence()
    assert texts_spoken(peer) == ["Hello.", "Five minutes left.", "Our time is almost over: 60 seconds are left."]


async def test_a_caller_who_says_nothing_is_left_after_the_idle_timeout(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("IDLE_TIMEOUT", "1")
    async with call({"greeting": "Hello."}) as peer:
        await peer.wait_for_sound()
        await peer.wait_for_end()


async def test_a_cancelled_pipeline_hangs_up_on_the_caller(workers: list[PipelineWorker]) -> None:
    async with call() as peer:
        await peer.wait_for_sound()
        await workers[0].cancel()
        await peer.wait_for_end()
        with pytest.raises(CallEndedError):
            await peer.wait_for_silence(lasting_s=60)


@pytest.fixture
async def openai(environment: pytest.MonkeyPatch) -> AsyncIterator[FakeOpenAI]:
    """A server that hears, thinks and speaks for the assistant."""
    async with fake_openai() as service:
        environment.setenv("OPENAI_API_KEY", "sk-test")
        for part in ("STT", "LLM", "TTS"):
            environment.setenv(f"{part}_BASE_URL", service.url)
        yield service
    # Pipecat leaves the connections of its OpenAI clients to the end of the process.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()


async def test_persona_and_voice_arrive_where_they_should_and_a_tool_is_called(
    openai: FakeOpenAI, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "waiter.toml").write_text(
        'name = "Ada"\ninstructions = "You are {{ bot }} of {{ labels.team }}."\ngreeting = "Hi {{ participant }}."\n'
    )
    (tmp_path / "tools.py").write_text(TOOLS)
    environment.setenv("PERSONAS_DIR", str(tmp_path))
    environment.setenv("TOOLS", str(tmp_path / "tools.py"))
    openai.heard.append("A table for two, please.")
    openai.answers.extend([Call("get_table", {"guests": 2}), Say("Table forty two.")])
    body = {
        "personalityId": "waiter",
        "voice": "nova",
        "voiceParameters": {"speed": 1.2},
        "sessionUserName": "Bob",
        "pipefleet": {"labels": {"team": "the bistro"}},
    }
    async with call(body) as peer:
        await peer.wait_for_sound()
        await peer.wait_for_silence()
        peer.speak(speech("A table for two, please."))
        await openai.until_spoken("Table forty two.")
    first, second = openai.chats
    assert first["messages"][0] == {"role": "system", "content": "You are Ada of the bistro."}
    assert [message["content"] for message in first["messages"][1:]] == ["Hi Bob.", "A table for two, please."]
    assert [tool["function"]["name"] for tool in first["tools"]] == ["get_table"]
    assert json.loads(second["messages"][-1]["content"]) == {"table": 42, "for": "Bob"}
    assert openai.spoken == ["Hi Bob.", "Table forty two."]
    assert {(speech["voice"], speech["speed"]) for speech in openai.speeches} == {("nova", 1.2)}


async def test_after_an_interruption_the_context_has_what_was_heard_of_the_answer(openai: FakeOpenAI) -> None:
    openai.heard.extend(["Tell me a story.", "Stop."])
    sentences = [f"This is sentence number {number} of a story that nobody hears to its end." for number in range(9)]
    openai.answers.extend([Say(" ".join(sentences)), Say("I stopped.")])
    async with call({"greeting": "Hello."}) as peer:
        await peer.wait_for_sound()
        await peer.wait_for_silence()
        peer.speak(speech("Tell me a story."))
        await until(lambda: any("number 1" in text for text in texts_spoken(peer)))
        peer.speak(speech("Thank you very much."))
        await openai.until_spoken("I stopped.")
    said = [(message["role"], message["content"]) for message in openai.chats[1]["messages"]]
    assert said[0][0] == "system"
    assert said[1:3] == [("assistant", "Hello."), ("user", "Tell me a story.")]
    assert said[-1] == ("user", "Stop.")
    kept = " ".join(content for role, content in said[3:-1] if role == "assistant")
    assert kept.startswith(sentences[0])
    assert sentences[8] not in kept


async def test_a_key_that_is_refused_ends_the_call_and_says_so(openai: FakeOpenAI) -> None:
    openai.answers.append(Fail(401, "Incorrect API key provided"))

    async def ask() -> None:
        async with call({"greeting": "Hello."}) as peer:
            await peer.wait_for_sound()
            await peer.wait_for_silence()
            peer.speak(speech("Thank you very much."))
            await peer.wait_for_end()

    with pytest.raises(LaunchRefused, match=r"OpenAILLMService.*Incorrect API key provided"):
        await ask()


async def refusal(body: object, arguments: RunnerArguments | None = None) -> str:
    arguments = arguments or RunnerArguments(body=body)
    with pytest.raises(LaunchRefused) as refused:
        await assistant.bot(arguments)
    return str(refused.value)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"llm": "openai"}, "LLM openai needs the variable OPENAI_API_KEY, which is not set."),
        ({"voiceProvider": "siri"}, "There is no TTS 'siri'. There are: cartesia, elevenlabs, "),
        ({"persona": "chef"}, "There is no persona 'chef'. There are: none: PERSONAS_DIR is not set, or empty."),
        ({"voiceParameters": {"stability": 2}}, "body: voiceParameters.stability: expected a number <= 1.0"),
        ({"voice": "alloy"}, "TTS offline: eSpeak NG has no voice 'alloy'"),
        ({"language": "klingon"}, "language: there is no language 'klingon'"),
        ({"stt": "daily"}, "STT daily is for Daily rooms only."),
        ({}, "The assistant has nobody to talk to with transport none"),
    ],
)
async def test_a_launch_that_cannot_be_is_refused_in_words(body: object, sentence: str) -> None:
    assert (await refusal(body)).startswith(sentence)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("STT", "deepgram", "STT deepgram needs the extra pipecat-ai[deepgram], which is installed, and the variable "),
        ("LLM", "hal", "There is no LLM 'hal'."),
        ("IDLE_TIMEOUT", "soon", "IDLE_TIMEOUT: expected a number, got 'soon'"),
        ("PERSONA", "chef", "PERSONA: there is no persona 'chef' in PERSONAS_DIR"),
        ("TOOLS", "/none.py", "TOOLS: /none.py is not a Python file"),
    ],
)
def test_bad_settings_stop_the_runner_and_not_a_call(
    environment: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    environment.setenv(variable, value)
    with pytest.raises(LaunchRefused) as refused:
        assistant.warm_up()
    assert str(refused.value).startswith(sentence)


async def test_two_calls_in_one_process_do_not_share_their_ears() -> None:
    assistant.warm_up()
    first, second = await assistant._take_ears(), await assistant._take_ears()
    assert first.voice_activity is not second.voice_activity
    assert first.smart_turn is not second.smart_turn


class Room(DailyTransport):
    """A room known only by who is in it, and by what is asked of it."""

    def __init__(self, *present: str) -> None:
        super().__init__("https://example.daily.co/room", None, "bot")
        self.present = present
        self.asked: list[Any] = []

    def participants(self) -> Mapping[str, Any]:
        return {name: {} for name in self.present}

    async def start_recording(self, *_: Any, **__: Any) -> Any:
        self.asked.append("recording")

    async def start_dialout(self, settings: Any = None) -> Any:
        self.asked.append(settings)

    async def happened(self) -> None:
        """Wait for the handlers of what has just happened."""
        await asyncio.gather(*(task for _, task in self._event_tasks))


@pytest.mark.parametrize(
    ("present", "empty"),
    [(["local", "ann", "bob"], False), (["local", "ann"], True), (["local"], True)],
)
async def test_a_room_is_empty_when_the_last_one_has_left(present: list[str], empty: bool) -> None:
    room = Room(*present)
    waiting = asyncio.create_task(EmptyRoom(room, timeout_s=0.0).wait())
    await asyncio.sleep(0)
    await room._on_participant_left({"id": "ann"}, "leftCall")  # type: ignore[no-untyped-call]
    await room.happened()
    done, _ = await asyncio.wait({waiting}, timeout=5 if empty else 0.1)
    assert bool(done) is empty
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_somebody_who_comes_back_in_time_keeps_the_bot_in_the_room() -> None:
    room = Room("local")
    waiting = asyncio.create_task(EmptyRoom(room, timeout_s=1.0).wait())
    await asyncio.sleep(0)
    await room._on_participant_left({"id": "ann"}, "leftCall")  # type: ignore[no-untyped-call]
    await room.happened()
    await room._call_event_handler("on_client_connected", {"id": "ann"})
    await room.happened()
    done, _ = await asyncio.wait({waiting}, timeout=1.5)
    assert not done
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_daily_room_is_recorded_and_others_are_called_when_the_launch_asks_for_it() -> None:
    room = Room("local")
    daily_calls.begin_on_arrival(room, read_body({"recording": True, "dialout_settings": {"phoneNumber": "+1"}}))
    await room._call_event_handler("on_joined", {})
    await room.happened()
    assert room.asked == ["recording", {"phoneNumber": "+1"}]


DIAL_IN = {"dialin_settings": {"call_id": "c-1", "call_domain": "d-1"}}


async def daily(body: dict[str, Any], **settings: Any) -> DailyTransport:
    chosen = AssistantSettings(**settings)
    arguments = DailyRunnerArguments(room_url="https://example.daily.co/room", token="t", body=body)
    transport = await assistant._transport(arguments, chosen, read_body(body), personas.BUILT_IN)
    return cast("DailyTransport", transport)


async def test_a_dial_in_reaches_daily_with_the_key_of_the_launch_or_of_the_runner() -> None:
    own = (await daily({**DIAL_IN, "daily_api_key": "own"}, daily_api_key="runner"))._params
    assert own.dialin_settings
    assert (own.dialin_settings.call_id, own.dialin_settings.call_domain) == ("c-1", "d-1")
    assert own.api_key == "own"
    assert (await daily(DIAL_IN, daily_api_key="runner"))._params.api_key == "runner"
    with pytest.raises(LaunchRefused, match="dialin_settings need a daily_api_key, or the variable DAILY_API_KEY"):
        await daily(DIAL_IN)


async def test_a_launch_does_not_choose_who_gets_the_key_of_daily() -> None:
    """A caller's `daily_api_url` was sent the runner's DAILY_API_KEY."""
    for own in ({}, {"daily_api_key": "own"}):
        for url in ("https://evil.example/v1", "https://api.daily.co.evil.example/v1", "http://169.254.169.254"):
            with pytest.raises(LaunchRefused, match="daily_api_url must be what DAILY_API_URL is here"):
                await daily({**DIAL_IN, **own, "daily_api_url": url}, daily_api_key="runner")
    named = await daily({**DIAL_IN, "daily_api_url": "https://api.daily.co/v1/"}, daily_api_key="runner")
    assert named._params.api_url == "https://api.daily.co/v1"


async def test_the_room_itself_can_transcribe() -> None:
    params = (await daily({"stt": "daily", "language": "de"}))._params
    assert (params.transcription_enabled, params.transcription_settings.language) == (True, "de")
    assert not (await daily({}))._params.transcription_enabled


async def test_the_bot_has_its_personas_name_in_the_room() -> None:
    assert (await daily({}))._client._bot_name == personas.BUILT_IN.name


PROBE = """
import os, socket, sys
def state(): return len(os.listdir('/proc/self/task')), [fd for fd in os.listdir('/proc/self/fd') if is_socket(fd)]
def is_socket(fd):
    try: return os.readlink('/proc/self/fd/' + fd).startswith('socket:')
    except FileNotFoundError: return False
from services.runner.bots import assistant
assert state() == (1, []), state()
assert not assistant._warm_ears
assistant.warm_up()
assert state() == (1, []), state()
assert 'openai' not in sys.modules
"""


def test_importing_and_warming_up_starts_no_thread_opens_no_connection_and_loads_no_client_that_is_not_used() -> None:
    """The telemetry of onnxruntime does the first two; a process that forks must have one thread.

    OpenAI's client takes a third of a second, for which every runner's start would wait.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    probe = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=False)
    assert probe.returncode == 0, probe.stderr
