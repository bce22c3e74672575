"""Who listens, thinks and speaks for the assistant, by name.

Each row of the tables says which Pipecat service it is, which extra of ``pipecat-ai`` it needs, and where its key is. A
service is imported when it is wanted: some take seconds and tens of megabytes.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import structlog
from pipecat.transcriptions.language import Language

from services.runner.bots import espeak_tts
from services.runner.bots.assistant_settings import AssistantSettings
from services.runner.refusal import LaunchRefused
from shared.persona import VoiceParameters

Part: TypeAlias = Literal["stt", "llm", "tts"]

_log = structlog.get_logger()

_NORMAL_WORDS_PER_MINUTE = 175
_CARTESIA_VOICE = "71a7ad14-091c-4e8e-a314-022ece01c121"
_ELEVENLABS_VOICE = "21m00Tcm4TlvDq8ikWAM"


@dataclass(frozen=True)
class Wanted:
    """What a service is to be like, whoever provides it; None leaves the service its own choice."""

    key: str | None = None
    base_url: str | None = None
    model: str | None = None
    language: Language | None = None
    instructions: str | None = None
    bot: str = ""
    voice: str | None = None
    parameters: VoiceParameters = field(default_factory=VoiceParameters)


Make: TypeAlias = Callable[[type[Any], Wanted], Any]


@dataclass(frozen=True)
class Provider:
    """One row. `takes` are the voice parameters that the service has."""

    service: str
    make: Make
    extra: str | None = None
    key: str | None = None
    takes: frozenset[str] = frozenset()


def _settings(service: type[Any], **values: Any) -> Any:
    return service.Settings(**{name: value for name, value in values.items() if value is not None})


def _hosted_stt(service: type[Any], wanted: Wanted) -> Any:
    settings = _settings(service, model=wanted.model, language=wanted.language)
    at = {"base_url": wanted.base_url} if wanted.base_url else {}
    return service(api_key=wanted.key, settings=settings, **at)


def _local_stt(service: type[Any], wanted: Wanted) -> Any:
    return service(settings=_settings(service, model=wanted.model, language=wanted.language))


def _offline_stt(service: type[Any], _: Wanted) -> Any:
    return service()


def _llm(service: type[Any], wanted: Wanted) -> Any:
    settings = _settings(service, model=wanted.model, system_instruction=wanted.instructions)
    at = {"base_url": wanted.base_url} if wanted.base_url else {}
    return service(api_key=wanted.key, settings=settings, **at)


def _offline_llm(service: type[Any], wanted: Wanted) -> Any:
    return service(name_of_bot=wanted.bot)


def _cartesia(service: type[Any], wanted: Wanted) -> Any:
    generation = importlib.import_module(service.__module__).GenerationConfig
    speed = wanted.parameters.speed
    settings = _settings(
        service,
        model=wanted.model,
        voice=wanted.voice or _CARTESIA_VOICE,
        language=wanted.language,
        generation_config=generation(speed=speed) if speed is not None else None,
    )
    return service(api_key=wanted.key, settings=settings)


def _elevenlabs(service: type[Any], wanted: Wanted) -> Any:
    given = wanted.parameters
    settings = _settings(
        service,
        model=wanted.model,
        voice=wanted.voice or _ELEVENLABS_VOICE,
        language=wanted.language,
        speed=given.speed,
        stability=given.stability,
        similarity_boost=given.similarity_boost,
        style=given.style,
    )
    return service(api_key=wanted.key, settings=settings)


def _deepgram_tts(service: type[Any], wanted: Wanted) -> Any:
    # The model is part of the voice's name there.
    settings = _settings(service, voice=wanted.voice or wanted.model, speed=wanted.parameters.speed)
    return service(api_key=wanted.key, settings=settings)


def _openai_tts(service: type[Any], wanted: Wanted) -> Any:
    settings = _settings(service, model=wanted.model, voice=wanted.voice, speed=wanted.parameters.speed)
    return service(api_key=wanted.key, base_url=wanted.base_url, settings=settings)


def _kokoro(service: type[Any], wanted: Wanted) -> Any:
    given = {"voice": wanted.voice, "language": wanted.language, "speed": wanted.parameters.speed}
    return service(settings=_settings(service, **given))


def _piper(service: type[Any], wanted: Wanted) -> Any:
    return service(settings=_settings(service, voice=wanted.voice))


def _espeak(service: type[Any], wanted: Wanted) -> Any:
    words_per_minute = round(_NORMAL_WORDS_PER_MINUTE * (wanted.parameters.speed or 1))
    slowest, fastest = espeak_tts.SLOWEST_WORDS_PER_MINUTE, espeak_tts.FASTEST_WORDS_PER_MINUTE
    words_per_minute = min(max(words_per_minute, slowest), fastest)
    language = wanted.language or Language.EN_US
    try:
        espeak_tts.check(language=language.value, voice=wanted.voice)
    except espeak_tts.EspeakError as error:
        raise LaunchRefused(f"TTS offline: {error}") from error
    return service(
        settings=_settings(service, voice=wanted.voice, language=language, words_per_minute=words_per_minute)
    )


_SPEED = frozenset({"speed", "language"})

STT: Mapping[str, Provider | None] = {
    "deepgram": Provider(
        "pipecat.services.deepgram.stt:DeepgramSTTService", _hosted_stt, "deepgram", "deepgram_api_key"
    ),
    "openai": Provider("pipecat.services.openai.stt:OpenAISTTService", _hosted_stt, None, "openai_api_key"),
    "whisper": Provider("pipecat.services.whisper.stt:WhisperSTTService", _local_stt, "whisper"),
    "moonshine": Provider("pipecat.services.moonshine.stt:MoonshineSTTService", _local_stt, "moonshine"),
    "daily": None,  # the room itself transcribes
    "offline": Provider("services.runner.bots.offline_stt:OfflineSTTService", _offline_stt),
}
LLM: Mapping[str, Provider | None] = {
    "openai": Provider("pipecat.services.openai.llm:OpenAILLMService", _llm, None, "openai_api_key"),
    "anthropic": Provider("pipecat.services.anthropic.llm:AnthropicLLMService", _llm, "anthropic", "anthropic_api_key"),
    "google": Provider("pipecat.services.google.llm:GoogleLLMService", _llm, "google", "google_api_key"),
    "offline": Provider("services.runner.bots.offline_llm:OfflineLLMService", _offline_llm),
}
TTS: Mapping[str, Provider | None] = {
    "cartesia": Provider(
        "pipecat.services.cartesia.tts:CartesiaTTSService", _cartesia, "cartesia", "cartesia_api_key", _SPEED
    ),
    "elevenlabs": Provider(
        "pipecat.services.elevenlabs.tts:ElevenLabsTTSService",
        _elevenlabs,
        "elevenlabs",
        "elevenlabs_api_key",
        _SPEED | {"stability", "similarity_boost", "style"},
    ),
    "deepgram": Provider(
        "pipecat.services.deepgram.tts:DeepgramTTSService",
        _deepgram_tts,
        "deepgram",
        "deepgram_api_key",
        frozenset({"speed"}),
    ),
    "openai": Provider(
        "pipecat.services.openai.tts:OpenAITTSService", _openai_tts, None, "openai_api_key", frozenset({"speed"})
    ),
    "kokoro": Provider("pipecat.services.kokoro.tts:KokoroTTSService", _kokoro, "kokoro", takes=_SPEED),
    "piper": Provider("pipecat.services.piper.tts:PiperTTSService", _piper, "piper"),
    "offline": Provider("services.runner.bots.espeak_tts:EspeakTTSService", _espeak, takes=_SPEED),
}
TABLES: Mapping[Part, Mapping[str, Provider | None]] = {"stt": STT, "llm": LLM, "tts": TTS}


def choose(part: Part, asked: str | None, settings: AssistantSettings) -> str:
    """The provider's name: what the launch asks for, else the settings' choice, else the first one with a key.

    Raises:
        LaunchRefused: there is none of that name.
    """
    name = (asked or str(getattr(settings, part))).lower()
    if name == "auto":
        return next(
            (
                row
                for row, provider in TABLES[part].items()
                if provider and provider.key and _has(part, provider, settings)
            ),
            "offline",
        )
    if name not in TABLES[part]:
        raise LaunchRefused(f"There is no {part.upper()} {name!r}. There are: {', '.join(TABLES[part])}.")
    return name


def imported(part: Part, name: str, settings: AssistantSettings) -> tuple[Provider, type[Any]] | None:
    """The provider's row and service, ready to be made; None for the room's own.

    Raises:
        LaunchRefused: its extra is not installed, or its key is not set; the sentence names both.
    """
    provider = TABLES[part][name]
    if provider is None:
        return None
    module, _, service = provider.service.partition(":")
    keyed = provider.key is None or _has(part, provider, settings)
    kind: type[Any] | None = None
    try:
        kind = getattr(importlib.import_module(module), service)
    except ImportError as error:
        if provider.extra is None:
            raise LaunchRefused(f"{part.upper()} {name} needs {error.name}, which is not installed.") from error
        raise LaunchRefused(_lacks(part, name, provider, installed=False, keyed=keyed)) from error
    if not keyed:
        raise LaunchRefused(_lacks(part, name, provider, installed=True, keyed=False))
    return provider, kind


def make(part: Part, name: str, settings: AssistantSettings, wanted: Wanted) -> Any:
    """The service, or None where the room has its own.

    Raises:
        LaunchRefused: as `imported`, or it cannot be what is wanted.
    """
    found = imported(part, name, settings)
    if found is None:
        return None
    provider, service = found
    if part == "tts":
        _tell_ignored(name, provider, wanted.parameters)
    try:
        return provider.make(service, wanted)
    except (ValueError, TypeError) as error:
        raise LaunchRefused(f"{part.upper()} {name}: {error}") from error


def key_of(part: Part, name: str, settings: AssistantSettings) -> str | None:
    """The provider's key; a server of one's own gets some key even if it needs none."""
    provider = TABLES[part][name]
    key = getattr(settings, provider.key) if provider and provider.key else None
    return key or ("none" if provider and provider.key == "openai_api_key" and _base_url(part, settings) else None)


def _has(part: Part, provider: Provider, settings: AssistantSettings) -> bool:
    return bool(getattr(settings, provider.key or "")) or (
        provider.key == "openai_api_key" and _base_url(part, settings) is not None
    )


def _base_url(part: Part, settings: AssistantSettings) -> str | None:
    url: str | None = getattr(settings, f"{part}_base_url")
    return url


def _lacks(part: Part, name: str, provider: Provider, *, installed: bool, keyed: bool) -> str:
    needs = []
    if provider.extra:
        needs.append(f"the extra pipecat-ai[{provider.extra}], which is {'' if installed else 'not '}installed")
    if provider.key:
        needs.append(f"the variable {provider.key.upper()}, which is {'' if keyed else 'not '}set")
    return f"{part.upper()} {name} needs {', and '.join(needs)}."


def _tell_ignored(name: str, provider: Provider, given: VoiceParameters) -> None:
    ignored = [one for one in given.__struct_fields__ if getattr(given, one) is not None and one not in provider.takes]
    if ignored:
        _log.warning("voice_parameters_ignored", tts=name, parameters=ignored)
