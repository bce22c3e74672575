"""Commands in the bot's process: which frames they are, and what is said of those that nothing takes."""

import asyncio
from typing import Any

import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMMessagesAppendFrame,
    OutputDTMFFrame,
    OutputTransportMessageUrgentFrame,
    STTMuteFrame,
    TTSSpeakFrame,
    TTSUpdateSettingsFrame,
    VolumeFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.transcriptions.language import Language
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from services.runner.bots.espeak_tts import EspeakTTSService
from services.runner.call.pipelines import Seen
from services.runner.commands import bot_commands
from services.runner.commands.bot_commands import NoTakerError, frames_of
from shared.contract import (
    AppMessage,
    CommandReason,
    Custom,
    Dtmf,
    Interrupt,
    LlmChange,
    Message,
    Mute,
    Outcome,
    Reply,
    Say,
    SttChange,
    TtsChange,
    Unmute,
    Update,
)

C: dict[str, Any] = {"command_id": "c"}


@pytest.fixture
async def pipeline() -> Pipeline:
    """With a voice and a transport whose output is at three quarters of its volume; inside another pipeline."""
    output = BaseOutputTransport(TransportParams(audio_out_enabled=True, audio_out_volume=0.75))
    return Pipeline([Pipeline([EspeakTTSService()]), output])


def kinds(frames: list[Frame]) -> list[type]:
    return [type(frame) for frame in frames]


async def test_each_command_is_what_pipecat_has_for_it(pipeline: Pipeline) -> None:
    assert kinds(frames_of(Say(**C, text="Hello"), pipeline)) == [TTSSpeakFrame]
    assert kinds(frames_of(Interrupt(**C), pipeline)) == [InterruptionFrame]
    [mute, deaf, silent] = frames_of(Mute(**C), pipeline)
    assert isinstance(mute, InterruptionFrame)
    assert (isinstance(deaf, STTMuteFrame) and deaf.mute) is True
    assert isinstance(silent, VolumeFrame)
    assert silent.volume == 0.0
    [dtmf] = frames_of(Dtmf(**C, digits="1#"), pipeline)
    assert isinstance(dtmf, OutputDTMFFrame)
    assert dtmf.buttons == [KeypadEntry.ONE, KeypadEntry.POUND]


async def test_unmuting_gives_the_transport_the_volume_that_it_began_with(pipeline: Pipeline) -> None:
    [_, hears, volume] = frames_of(Unmute(**C), pipeline)
    assert isinstance(hears, STTMuteFrame)
    assert hears.mute is False
    assert isinstance(volume, VolumeFrame)
    assert volume.volume == 0.75


@pytest.mark.parametrize(
    ("sender", "content"),
    [
        ({}, "System: hi"),
        ({"sender_name": "Ann"}, "Ann: hi"),
        ({"sender_id": "u1", "sender_name": "Ann"}, "Ann (u1): hi"),
        ({"sender_id": "Ann", "sender_name": "Ann"}, "Ann: hi"),
    ],
)
async def test_a_message_says_to_the_model_who_sent_it(
    pipeline: Pipeline, sender: dict[str, Any], content: str
) -> None:
    [frame] = frames_of(Message(**C, text="hi", **sender), pipeline)
    assert isinstance(frame, LLMMessagesAppendFrame)
    assert frame.messages == [{"role": "user", "content": content}]
    assert frame.run_llm is False
    assert not frame.interruptible, "it would be lost when somebody begins to speak"


async def test_an_immediate_message_interrupts_first_and_makes_the_model_answer(pipeline: Pipeline) -> None:
    interruption, frame = frames_of(Message(**C, text="hi", mode="immediate"), pipeline)
    assert isinstance(interruption, InterruptionFrame)
    assert isinstance(frame, LLMMessagesAppendFrame)
    assert frame.run_llm is True


async def test_an_app_message_is_what_client_sdks_call_a_server_message(pipeline: Pipeline) -> None:
    [frame] = frames_of(AppMessage(**C, data={"a": None}), pipeline)
    assert isinstance(frame, OutputTransportMessageUrgentFrame)
    assert frame.message == {"label": "rtvi-ai", "type": "server-message", "data": {"a": None}}


@pytest.mark.parametrize(("code", "language"), [("de", Language.DE), ("klingon", "klingon")])
async def test_an_update_changes_what_it_names_and_nothing_else(
    pipeline: Pipeline, code: str, language: object
) -> None:
    [frame] = frames_of(Update(**C, tts=TtsChange(voice="f3", language=code)), pipeline)
    assert isinstance(frame, TTSUpdateSettingsFrame)
    assert frame.delta
    assert frame.delta.given_fields() == {"voice": "f3", "language": language}


@pytest.mark.parametrize(
    ("command", "lack"),
    [
        (Mute(**C), "no transport for its output"),
        (Unmute(**C), "no transport for its output"),
        (Dtmf(**C, digits="1"), "no transport for its output"),
        (AppMessage(**C, data=1), "no transport for its output"),
        (Update(**C, llm=LlmChange(model="m")), "no llm service"),
        (Update(**C, tts=TtsChange(voice="f3"), stt=SttChange(model="m")), "no stt service"),
    ],
)
async def test_what_nothing_in_the_pipeline_takes_is_said_with_what_is_missing(command: Any, lack: str) -> None:
    with pytest.raises(NoTakerError, match=lack):
        frames_of(command, Pipeline([EspeakTTSService()]))


# the bot's own handler


def seen(*handlers: Any) -> Seen:
    """A bot whose workers have these handlers; None for one without."""
    found = Seen()
    for handler in handlers:
        worker = PipelineWorker(Pipeline([]))
        if handler is not None:
            worker.on_command = handler  # type: ignore[attr-defined]
        found.add_worker(worker)
    return found


async def given(handler: Any) -> Reply:
    return await bot_commands.deliver(Custom(command_id="c", data={"n": 1}), seen(None, handler))


async def test_a_custom_command_is_for_the_first_handler_that_any_worker_has() -> None:
    taken: list[Any] = []

    async def later(command_id: str, data: Any) -> None:
        taken.append((command_id, data))

    assert (await given(later)).outcome is Outcome.DELIVERED
    assert (await given(lambda *command: taken.append(command))).outcome is Outcome.DELIVERED
    assert taken == [("c", {"n": 1})] * 2


async def test_without_a_handler_a_custom_command_is_unhandled() -> None:
    reply = await given(None)
    assert (reply.outcome, reply.reason) == (Outcome.UNHANDLED, CommandReason.NO_HANDLER)


async def test_a_handler_that_raises_fails_the_command_and_its_text_stays_in_the_log() -> None:
    async def fail(_: str, data: Any) -> None:
        raise ValueError(f"no {data}")

    reply = await given(fail)
    assert (reply.outcome, reply.reason) == (Outcome.FAILED, CommandReason.BOT_ERROR)
    assert reply.message == "the bot's on_command raised ValueError"


async def test_a_handler_that_does_not_return_fails_the_command_and_the_next_one_has_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    monkeypatch.setattr(bot_commands, "HANDLED_WITHIN_S", 0.05)

    async def hang(_: str, __: Any) -> None:
        await asyncio.Event().wait()

    reply = await given(hang)
    assert (reply.outcome, reply.message) == (Outcome.FAILED, "the bot's on_command took longer than 0.05 s")
