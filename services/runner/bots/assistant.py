"""The bot that comes with the fleet: it listens, thinks and speaks, with any provider or none.

An ordinary Pipecat bot file, to use or to copy; it runs unchanged under Pipecat's own runner. Who listens, thinks and
speaks is in `providers`, what the environment says in `assistant_settings`, what a launch may ask for in
`assistant_body`, who the assistant is in `personas`, and what its model may call in `assistant_tools`.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

# Keeps create_transport, which imports on demand, from importing in every forked process anew.
import pipecat.transports.smallwebrtc.transport  # noqa: F401
from pipecat.frames.frames import ErrorFrame, Frame, LLMMessagesAppendFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.runner.types import DailyRunnerArguments, RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.transcriptions.language import Language
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.transports.daily.transport import DailyTransport
from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

from services.runner.bots import assistant_tools, daily_calls, espeak_tts, personas, providers
from services.runner.bots.assistant_body import AssistantBody, read_body
from services.runner.bots.assistant_settings import AssistantSettings
from services.runner.bots.empty_room import EmptyRoom
from services.runner.bots.offline_llm import OfflineLLMService
from services.runner.frames import SessionEndingFrame
from services.runner.logs import bot_logs
from services.runner.refusal import LaunchRefused
from shared import settings as environment
from shared.errors import SettingsError
from shared.persona import Persona, VoiceParameters

# onnxruntime reports to its maker over the network by default, from a thread that its import starts.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251 - a bot file runs without the fleet, too
from pipecat.audio.turn.smart_turn.base_smart_turn import SmartTurnParams
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer

Services: TypeAlias = tuple[Any, Any, Any]
"""Who listens (nobody, where the room transcribes), thinks and speaks."""
LONGEST_PAUSE_S = 2.0
"""After which somebody has finished, even if it does not sound so."""
PARTS: tuple[providers.Part, ...] = ("stt", "llm", "tts")


async def bot(runner_args: RunnerArguments) -> None:
    """Serve one call in a Daily room or on a WebRTC connection; returns when it is over.

    Raises:
        LaunchRefused: it cannot be as the launch asks for, or a provider refuses its key or its settings; the text says
            why.
    """
    house = _house()
    for key in house.settings.hidden():
        bot_logs.hide(key)
    body = read_body(runner_args.body)
    persona = personas.chosen(body, house.personas, house.settings.persona)
    call = personas.Call(body.session_user_name, persona.name or "", body.pipefleet.labels)
    stt, llm, tts = _services(house.settings, body, persona, call)

    transport = await _transport(runner_args, house.settings, body, persona)
    async with AsyncExitStack() as servers:
        context = LLMContext(tools=await _tools(house, llm, servers))
        worker = PipelineWorker(
            _pipeline(transport, (stt, llm, tts), context, await _take_ears()),
            params=PipelineParams(audio_in_sample_rate=16_000, enable_metrics=True, enable_usage_metrics=True),
            idle_timeout_secs=house.settings.idle_timeout_s or None,
            app_resources=runner_args.body,
        )
        broken = _stop_when_broken(worker, (stt, llm, tts))
        _greet_on_arrival(transport, worker, body.greeting or persona.greeting or "", call)
        if isinstance(transport, DailyTransport):
            daily_calls.begin_on_arrival(transport, body)
        # Signals belong to whoever runs this process.
        runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
        await runner.add_workers(worker)
        leaving = asyncio.create_task(_leave_when_alone(transport, worker, house.settings.empty_room_timeout_s))
        try:
            await runner.run()
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
    if broken:
        raise LaunchRefused(broken[0])


def warm_up() -> None:
    """Load what the next `bot` in this process needs, so that it starts at once; optional.

    Starts no thread and opens no connection.

    Raises:
        LaunchRefused: the settings are wrong, or a provider that they name lacks its extra or its key.
    """
    house = _house()
    chosen = {part: providers.choose(part, None, house.settings) for part in PARTS}
    for part, name in chosen.items():
        providers.imported(part, name, house.settings)
    if chosen["stt"] == "offline":
        from services.runner.bots import offline_stt  # noqa: PLC0415 - not every Python has PocketSphinx

        offline_stt.load()
    if chosen["tts"] == "offline":
        espeak_tts.load()
    if not _warm_ears:
        _warm_ears.append(_load_ears())


@dataclass(frozen=True)
class House:
    """What all calls of this process share."""

    settings: AssistantSettings
    personas: Mapping[str, Persona]
    functions: list[Callable[..., Any]]


@cache
def _house() -> House:
    try:
        settings = environment.load(AssistantSettings)
    except SettingsError as error:
        raise LaunchRefused(str(error)) from error
    found = personas.load(settings.personas_dir)
    if settings.persona and settings.persona not in found:
        raise LaunchRefused(f"PERSONA: there is no persona {settings.persona!r} in PERSONAS_DIR")
    return House(settings, found, assistant_tools.functions(settings.tools))


@dataclass(frozen=True)
class _Ears:
    """The models that listen. They remember what they heard, so each call needs its own."""

    voice_activity: SileroVADAnalyzer
    smart_turn: LocalSmartTurnAnalyzerV3


_warm_ears: list[_Ears] = []


def _load_ears() -> _Ears:
    return _Ears(
        voice_activity=SileroVADAnalyzer(),
        smart_turn=LocalSmartTurnAnalyzerV3(params=SmartTurnParams(stop_secs=LONGEST_PAUSE_S)),
    )


async def _take_ears() -> _Ears:
    if _warm_ears:
        return _warm_ears.pop()
    # Pipecat's own runner has other calls on this loop.
    return await asyncio.to_thread(_load_ears)


def _services(settings: AssistantSettings, body: AssistantBody, persona: Persona, call: personas.Call) -> Services:
    """Who listens, thinks and speaks; the launch decides before the persona, the persona before the settings."""
    parameters = body.voice_parameters or persona.voice_parameters or VoiceParameters()
    language = _language(body.language or parameters.language or persona.language)
    asked = {"stt": body.stt, "llm": body.llm, "tts": body.voice_provider or body.tts or persona.voice_provider}
    personas_voice = providers.choose("tts", persona.voice_provider, settings)
    made = []
    for part in PARTS:
        name = providers.choose(part, asked[part], settings)
        is_default = name == providers.choose(part, None, settings)
        wanted = providers.Wanted(
            key=providers.key_of(part, name, settings),
            base_url=getattr(settings, f"{part}_base_url"),
            # A model or a voice of one provider means nothing to another.
            model=(body.llm_model if part == "llm" else None)
            or (getattr(settings, f"{part}_model") if is_default else None),
            language=language,
            instructions=personas.filled(persona.instructions or "", call),
            bot=call.bot,
            voice=body.voice
            or (persona.voice if name == personas_voice else None)
            or (settings.tts_voice if is_default else None),
            parameters=parameters,
        )
        made.append(providers.make(part, name, settings, wanted))
    stt, llm, tts = made
    return stt, llm, tts


def _language(code: str | None) -> Language | None:
    if code is None:
        return None
    for language in Language:
        if language.value.lower() == code.lower():
            return language
    raise LaunchRefused(f"language: there is no language {code!r}; try a code like en, en-US or de.")


async def _tools(house: House, llm: Any, servers: AsyncExitStack) -> list[Any]:
    if isinstance(llm, OfflineLLMService):
        return []
    return [*house.functions, *await assistant_tools.of_servers(house.settings.mcp_servers, servers)]


def _pipeline(transport: BaseTransport, services: Services, context: LLMContext, ears: _Ears) -> Pipeline:
    stt, llm, tts = services
    user, assistant = LLMContextAggregatorPair(
        context,
        user_params=LLMUserAggregatorParams(
            vad_analyzer=ears.voice_activity,
            user_turn_strategies=UserTurnStrategies(
                stop=[TurnAnalyzerUserTurnStopStrategy(turn_analyzer=ears.smart_turn)]
            ),
        ),
    )
    parts = [transport.input(), WrapUp(), stt, user, llm, tts, transport.output(), assistant]
    return Pipeline([part for part in parts if part is not None])


async def _transport(
    runner_args: RunnerArguments, settings: AssistantSettings, body: AssistantBody, persona: Persona
) -> BaseTransport:
    transcribes = providers.choose("stt", body.stt, settings) == "daily"
    if isinstance(runner_args, DailyRunnerArguments):
        params = daily_calls.params(settings, body, persona, transcribes=transcribes)
        return DailyTransport(runner_args.room_url, runner_args.token, persona.name or "", params)
    if transcribes:
        raise LaunchRefused("STT daily is for Daily rooms only.")
    if type(runner_args) is RunnerArguments:
        raise LaunchRefused("The assistant has nobody to talk to with transport none: it needs daily or webrtc.")
    return await create_transport(runner_args, {"webrtc": _params, "eval": _eval_params})


def _params() -> TransportParams:
    return TransportParams(audio_in_enabled=True, audio_out_enabled=True)


def _eval_params() -> TransportParams:
    from pipecat.evals.transport import EvalTransportParams  # noqa: PLC0415 - for evals alone

    return EvalTransportParams(audio_in_enabled=True, audio_out_enabled=True)


def _stop_when_broken(worker: PipelineWorker, services: Services) -> list[str]:
    """End a call in which somebody can listen, think or speak no more; what is broken goes into the list given."""
    broken: list[str] = []

    async def see(_worker: PipelineWorker, error: ErrorFrame) -> None:
        if error.processor in services and error.processor is not None and not error.processor.is_usable:
            broken.append(f"{error.processor.name}: {error.error}")
            await worker.cancel(reason="a service can no longer do its job")

    worker.add_event_handler("on_pipeline_error", see)
    return broken


def _greet_on_arrival(transport: BaseTransport, worker: PipelineWorker, greeting: str, call: personas.Call) -> None:
    async def greet(_transport: BaseTransport, who: Any) -> None:
        seen = who.get("info", {}).get("userName") if isinstance(who, dict) else None
        known = personas.Call(call.participant or seen, call.bot, call.labels)
        if text := personas.filled(greeting, known).strip():
            await worker.queue_frame(TTSSpeakFrame(text))

    is_room = isinstance(transport, DailyTransport)
    transport.add_event_handler("on_first_participant_joined" if is_room else "on_client_connected", greet)


async def _leave_when_alone(transport: BaseTransport, worker: PipelineWorker, timeout_s: float) -> None:
    if isinstance(transport, DailyTransport):
        await EmptyRoom(transport, timeout_s).wait()
    else:
        gone = asyncio.Event()
        transport.add_event_handler("on_client_disconnected", partial(_set, gone))
        await gone.wait()
    await worker.cancel(reason="nobody is left")


async def _set(event: asyncio.Event, *_: Any) -> None:
    event.set()


class WrapUp(FrameProcessor):
    """Has the model say goodbye when the session's longest time is nearly over."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass every frame on; a `SessionEndingFrame` also becomes a message to the model."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, SessionEndingFrame):
            text = f"This call ends in about {frame.left_s:.0f} seconds. Say so, and wrap up."
            await self.push_frame(
                LLMMessagesAppendFrame(messages=[{"role": "developer", "content": text}], run_llm=True)
            )


if __name__ == "__main__":  # under Pipecat's own runner: python -m services.runner.bots.assistant -t webrtc
    from pipecat.runner.run import main

    main()
