"""Commands to the bot of this process: what each of them is in Pipecat's frames.

A command counts as delivered once its frames are queued in the bot's pipeline, or its own handler has taken it. Frames
carry in `metadata["pipefleet"]` the id of their command, by which a bot can tell one that comes twice.
"""

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import structlog
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMMessagesAppendFrame,
    LLMUpdateSettingsFrame,
    OutputDTMFFrame,
    OutputTransportMessageUrgentFrame,
    STTMuteFrame,
    STTUpdateSettingsFrame,
    TTSSpeakFrame,
    TTSUpdateSettingsFrame,
    VolumeFrame,
)
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.processors.frameworks.rtvi.models import ServerMessage
from pipecat.services.settings import LLMSettings, STTSettings, TTSSettings
from pipecat.transcriptions.language import Language
from pipecat.transports.base_output import BaseOutputTransport

from services.runner.call.pipelines import Seen
from services.runner.call.processors import all_of
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
    ToBot,
    TtsChange,
    Unmute,
    Update,
)

log = structlog.get_logger()

AsFrames: TypeAlias = Say | Message | Interrupt | Mute | Unmute | Update | AppMessage | Dtmf

HANDLED_WITHIN_S = 10.0
"""How long the bot's own handler may take; later commands wait for it."""
HANDLER = "on_command"
"""The attribute of a worker that takes custom commands."""

SERVICES = {
    "llm": ("pipecat.services.llm_service", "LLMService"),
    "tts": ("pipecat.services.tts_service", "TTSService"),
    "stt": ("pipecat.services.stt_service", "STTService"),
}
"""Where the classes of services are; a bot that has not imported one has no such service."""


class NoTakerError(Exception):
    """Nothing in the pipeline takes the command; the text says what is missing."""


async def deliver(command: ToBot, seen: Seen) -> Reply:
    """Give a command to the bot's main pipeline, as soon as it has one that works."""
    worker = await seen.worker()
    if isinstance(command, Custom):
        return await _handle(command, seen.workers)
    try:
        frames = frames_of(command, worker.pipeline)
    except NoTakerError as error:
        return unhandled(command, CommandReason.NO_SERVICE, str(error))
    for frame in frames:
        frame.metadata["pipefleet"] = _about(command)
        await worker.queue_frame(frame)
    return Reply(command_id=command.command_id, outcome=Outcome.DELIVERED)


def unhandled(command: ToBot, reason: CommandReason, message: str) -> Reply:
    """The reply for a bot that has nothing for such a command."""
    return Reply(command_id=command.command_id, outcome=Outcome.UNHANDLED, reason=reason, message=message)


def frames_of(command: AsFrames, pipeline: FrameProcessor) -> list[Frame]:
    """The frames of a command, in the order in which they go down the pipeline.

    Raises:
        NoTakerError: the pipeline has no part that takes them.
    """
    return _FRAMES[type(command)](command, pipeline)


def _say(command: Say, _: FrameProcessor) -> list[Frame]:
    return [TTSSpeakFrame(text=command.text)]


def _message(command: Message, _: FrameProcessor) -> list[Frame]:
    # Down the pipeline, in one line with what follows: one that came from its end could drop what follows.
    return [*([InterruptionFrame()] if command.mode == "immediate" else []), _append(command)]


def _interrupt(_: Interrupt, __: FrameProcessor) -> list[Frame]:
    return [InterruptionFrame()]


def _mute(_: Mute, pipeline: FrameProcessor) -> list[Frame]:
    _output(pipeline)
    return [InterruptionFrame(), STTMuteFrame(mute=True), VolumeFrame(volume=0.0)]


def _unmute(_: Unmute, pipeline: FrameProcessor) -> list[Frame]:
    volume = _output(pipeline)._params.audio_out_volume  # noqa: SLF001 - nobody else knows what it began with
    # What the bot said while nobody heard it is not continued in the middle.
    return [InterruptionFrame(), STTMuteFrame(mute=False), VolumeFrame(volume=volume)]


def _app_message(command: AppMessage, pipeline: FrameProcessor) -> list[Frame]:
    _output(pipeline)
    return [OutputTransportMessageUrgentFrame(message=ServerMessage(data=command.data).model_dump())]


def _dtmf(command: Dtmf, pipeline: FrameProcessor) -> list[Frame]:
    _output(pipeline)
    return [_uninterrupted(OutputDTMFFrame.from_string(command.digits))]


def _update(command: Update, pipeline: FrameProcessor) -> list[Frame]:
    frames: list[Frame] = []
    if llm := command.llm:
        _need(pipeline, "llm")
        frames.append(LLMUpdateSettingsFrame(delta=LLMSettings(**_given(llm))))
    if tts := command.tts:
        _need(pipeline, "tts")
        frames.append(TTSUpdateSettingsFrame(delta=TTSSettings(**_given(tts))))
    if stt := command.stt:
        _need(pipeline, "stt")
        frames.append(STTUpdateSettingsFrame(delta=STTSettings(**_given(stt))))
    return frames


_FRAMES: dict[type[AsFrames], Callable[[Any, FrameProcessor], list[Frame]]] = {
    Say: _say,
    Message: _message,
    Interrupt: _interrupt,
    Mute: _mute,
    Unmute: _unmute,
    AppMessage: _app_message,
    Dtmf: _dtmf,
    Update: _update,
}


def _append(command: Message) -> Frame:
    who = command.sender_name
    if command.sender_id not in {"system", who}:
        who = f"{who} ({command.sender_id})"
    messages: Any = [{"role": "user", "content": f"{who}: {command.text}"}]
    return _uninterrupted(LLMMessagesAppendFrame(messages=messages, run_llm=command.mode == "immediate"))


def _uninterrupted(frame: Frame) -> Frame:
    """What the fleet has said to be delivered is not dropped because somebody begins to speak."""
    frame.interruptible = False
    return frame


def _given(change: LlmChange | TtsChange | SttChange) -> dict[str, Any]:
    found = {name: getattr(change, name) for name in change.__struct_fields__}
    return {name: _language(value) if name == "language" else value for name, value in found.items() if value}


def _language(code: str) -> Language | str:
    """Each service has its own codes for what Pipecat has a name for; others are passed on as they are."""
    try:
        return Language(code)
    except ValueError:
        return code


def _need(pipeline: FrameProcessor, service: str) -> None:
    module, name = SERVICES[service]
    kind = getattr(sys.modules.get(module), name, None)
    if kind is None or not any(isinstance(found, kind) for found in all_of(pipeline)):
        raise NoTakerError(f"the bot's pipeline has no {service} service")


def _output(pipeline: FrameProcessor) -> BaseOutputTransport:
    for found in all_of(pipeline):
        if isinstance(found, BaseOutputTransport):
            return found
    raise NoTakerError("the bot's pipeline has no transport for its output")


def _about(command: ToBot) -> dict[str, str]:
    about = {"command_id": command.command_id}
    if isinstance(command, Message):
        about |= {"sender_id": command.sender_id, "sender_name": command.sender_name}
    return about


async def _handle(command: Custom, workers: Iterable[PipelineWorker]) -> Reply:
    """Call the bot's own handler. What it says in its errors may repeat the command, and so stays in the log."""
    handlers = (getattr(worker, HANDLER, None) for worker in workers)
    handler: Callable[..., Any] | None = next(filter(callable, handlers), None)
    if handler is None:
        return unhandled(command, CommandReason.NO_HANDLER, f"no worker of this bot has a function {HANDLER}")
    try:
        async with asyncio.timeout(HANDLED_WITHIN_S) as limit:
            taken = handler(command.command_id, command.data)
            if inspect.isawaitable(taken):
                await taken
    except Exception as error:
        log.exception("command_handler_failed", command_id=command.command_id)
        why = f"took longer than {HANDLED_WITHIN_S:g} s" if limit.expired() else f"raised {type(error).__name__}"
        message = f"the bot's {HANDLER} {why}"
        return Reply(
            command_id=command.command_id, outcome=Outcome.FAILED, reason=CommandReason.BOT_ERROR, message=message
        )
    return Reply(command_id=command.command_id, outcome=Outcome.DELIVERED)
