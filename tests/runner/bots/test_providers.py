"""Every provider by its name: built as it should be, or refused in words."""

import importlib
from typing import Any

import pytest
from pipecat.transcriptions.language import Language

from services.runner.bots import providers
from services.runner.bots.assistant_settings import AssistantSettings
from services.runner.bots.providers import Part, Wanted
from services.runner.refusal import LaunchRefused
from shared.persona import VoiceParameters

WANTED = Wanted(
    key="k-1",
    model="m-1",
    language=Language.DE,
    instructions="Be kind.",
    bot="Ada",
    voice="v-1",
    parameters=VoiceParameters(speed=1.1, stability=0.3, similarity_boost=0.4, style=0.5),
)
ALL_KEYS = AssistantSettings(
    openai_api_key="k-1",
    anthropic_api_key="k-1",
    google_api_key="k-1",
    deepgram_api_key="k-1",
    cartesia_api_key="k-1",
    elevenlabs_api_key="k-1",
)
NOT_INSTALLED: list[tuple[Part, str]] = [("stt", "whisper"), ("stt", "moonshine"), ("tts", "kokoro"), ("tts", "piper")]
"""Local models of some gigabytes with their libraries: only their absence is tested."""

BUILT: list[tuple[Part, str, str, dict[str, Any]]] = [
    ("stt", "deepgram", "DeepgramSTTService", {"model": "m-1", "language": "de"}),
    ("stt", "openai", "OpenAISTTService", {"model": "m-1", "language": "de"}),
    ("stt", "offline", "OfflineSTTService", {"model": "pocketsphinx en-us", "language": "en"}),
    ("llm", "openai", "OpenAILLMService", {"model": "m-1", "system_instruction": "Be kind."}),
    ("llm", "anthropic", "AnthropicLLMService", {"model": "m-1", "system_instruction": "Be kind."}),
    ("llm", "google", "GoogleLLMService", {"model": "m-1", "system_instruction": "Be kind."}),
    ("llm", "offline", "OfflineLLMService", {"model": "offline"}),
    ("tts", "cartesia", "CartesiaTTSService", {"model": "m-1", "voice": "v-1", "language": "de"}),
    (
        "tts",
        "elevenlabs",
        "ElevenLabsTTSService",
        {
            "model": "m-1",
            "voice": "v-1",
            "language": "de",
            "speed": 1.1,
            "stability": 0.3,
            "similarity_boost": 0.4,
            "style": 0.5,
        },
    ),
    ("tts", "deepgram", "DeepgramTTSService", {"voice": "v-1", "speed": 1.1}),
    ("tts", "openai", "OpenAITTSService", {"model": "m-1", "voice": "v-1", "speed": 1.1}),
    ("tts", "offline", "EspeakTTSService", {"voice": "f5", "language": "de", "words_per_minute": 193}),
]


def test_every_name_of_the_tables_is_tested_here() -> None:
    tested = [(part, name) for part, name, _, _ in BUILT] + NOT_INSTALLED + [("stt", "daily")]
    assert sorted(tested) == sorted((part, name) for part, table in providers.TABLES.items() for name in table)


@pytest.mark.parametrize(("part", "name", "kind", "settings"), BUILT, ids=lambda value: str(value)[:12])
async def test_with_key_and_extra_a_service_is_built_with_its_settings(
    part: Part, name: str, kind: str, settings: dict[str, Any]
) -> None:
    voice = "f5" if name == "offline" else "v-1"
    wanted = Wanted(
        **{field: getattr(WANTED, field) for field in WANTED.__dataclass_fields__ if field != "voice"}, voice=voice
    )
    service = providers.make(part, name, ALL_KEYS, wanted)
    assert type(service).__name__ == kind
    assert {field: str(getattr(service._settings, field)) for field in settings} == {
        field: str(value) for field, value in settings.items()
    }
    assert service.can_generate_metrics()


async def test_the_speed_of_cartesia_is_a_part_of_its_generation() -> None:
    service = providers.make("tts", "cartesia", ALL_KEYS, WANTED)
    assert service._settings.generation_config.speed == 1.1


@pytest.mark.parametrize(
    ("part", "name"),
    [(part, name) for part, table in providers.TABLES.items() for name, row in table.items() if row and row.key],
)
def test_without_its_key_a_provider_is_refused_with_the_variable_and_the_extra(part: Part, name: str) -> None:
    row = providers.TABLES[part][name]
    assert row
    assert row.key
    with pytest.raises(LaunchRefused) as refused:
        providers.imported(part, name, AssistantSettings())
    said = str(refused.value)
    assert f"the variable {row.key.upper()}, which is not set" in said
    assert row.extra is None or f"the extra pipecat-ai[{row.extra}], which is installed" in said


@pytest.mark.parametrize(("part", "name"), NOT_INSTALLED)
def test_without_its_extra_a_provider_is_refused_with_the_extra(part: Part, name: str) -> None:
    with pytest.raises(LaunchRefused) as refused:
        providers.imported(part, name, ALL_KEYS)
    assert str(refused.value) == f"{part.upper()} {name} needs the extra pipecat-ai[{name}], which is not installed."


def test_without_both_one_sentence_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(LaunchRefused) as refused:
        providers.imported("stt", "deepgram", AssistantSettings())
    assert str(refused.value) == (
        "STT deepgram needs the extra pipecat-ai[deepgram], which is not installed, "
        "and the variable DEEPGRAM_API_KEY, which is not set."
    )


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        (AssistantSettings(), ("offline", "offline", "offline")),
        (AssistantSettings(openai_api_key="k"), ("openai", "openai", "openai")),
        (
            AssistantSettings(deepgram_api_key="k", openai_api_key="k", cartesia_api_key="k", elevenlabs_api_key="k"),
            ("deepgram", "openai", "cartesia"),
        ),
        (AssistantSettings(elevenlabs_api_key="k", google_api_key="k"), ("offline", "google", "elevenlabs")),
        (AssistantSettings(llm_base_url="http://localhost:8000/v1"), ("offline", "openai", "offline")),
        (AssistantSettings(openai_api_key="k", stt="Offline", tts="offline"), ("offline", "openai", "offline")),
    ],
)
def test_whoever_has_a_key_is_taken_first_and_no_key_means_offline(
    settings: AssistantSettings, chosen: tuple[str, str, str]
) -> None:
    assert tuple(providers.choose(part, None, settings) for part in providers.TABLES) == chosen


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(LaunchRefused, match=r"no TTS 'siri'. There are: cartesia, elevenlabs, .*, offline\."):
        providers.choose("tts", "siri", AssistantSettings())


def test_a_voice_that_espeak_does_not_have_is_refused_before_the_call() -> None:
    with pytest.raises(LaunchRefused, match="TTS offline: eSpeak NG has no voice 'alloy'"):
        providers.make("tts", "offline", AssistantSettings(), Wanted(voice="alloy"))
