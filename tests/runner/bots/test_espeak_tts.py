"""eSpeak NG really speaks here; what is checked is the sound it makes and how it fails."""

import asyncio
import threading
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    MetricsFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.metrics.metrics import TTFBMetricsData, TTSUsageMetricsData
from pipecat.pipeline.worker import PipelineParams
from pipecat.tests.utils import run_test
from pipecat.transcriptions.language import Language

from services.runner.bots import espeak_tts
from services.runner.bots.espeak_tts import EspeakError, EspeakTTSService, EspeakTTSSettings

TEXT = "The quick brown fox jumps over the lazy dog."


def spoken_s(text: str = TEXT, language: str = "en-us", voice: str | None = None, words_per_minute: int = 175) -> float:
    pcm = bytearray()
    espeak_tts.speak(text, keep(pcm), language=language, voice=voice, words_per_minute=words_per_minute)
    return len(pcm) / 2 / espeak_tts.load()


def keep(pcm: bytearray) -> Callable[[bytes], bool]:
    def deliver(chunk: bytes) -> bool:
        pcm.extend(chunk)
        return True

    return deliver


def peak(pcm: bytes | bytearray) -> int:
    return max(map(abs, array("h", pcm)))


def test_speech_is_audible_and_as_long_as_a_person_would_take() -> None:
    pcm = bytearray()
    espeak_tts.speak(TEXT, keep(pcm))
    assert peak(pcm) > 3000
    assert 1.5 < len(pcm) / 2 / espeak_tts.load() < 5


def test_speech_is_delivered_in_pieces_while_it_is_made() -> None:
    pieces: list[int] = []

    def measure(chunk: bytes) -> bool:
        pieces.append(len(chunk))
        return True

    espeak_tts.speak(TEXT, measure)
    assert len(pieces) > 20
    assert max(pieces) / 2 / espeak_tts.load() <= 0.1


def test_refusing_a_piece_stops_the_synthesis() -> None:
    pieces: list[bytes] = []

    def refuse_the_third(chunk: bytes) -> bool:
        pieces.append(chunk)
        return len(pieces) < 3

    espeak_tts.speak(TEXT * 10, refuse_the_third)
    assert len(pieces) == 3


def test_more_words_per_minute_make_shorter_speech() -> None:
    assert spoken_s(words_per_minute=350) < 0.7 * spoken_s(words_per_minute=175)


@pytest.mark.parametrize("language", ["de", "de-DE", "en-GB", "zh", "zh-HK", "no", "fr-FR"])
def test_a_language_is_spoken_even_if_its_region_is_unknown(language: str) -> None:
    assert spoken_s(language=language) > 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"language": "xx-YY"}, "does not speak the language 'xx-YY'"),
        ({"voice": "nobody"}, "has no voice 'nobody'"),
        ({"words_per_minute": 900}, "words_per_minute must be between 80 and 450, not 900"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused_by_name(setting: dict[str, str | int], message: str) -> None:
    with pytest.raises(EspeakError, match=message):
        espeak_tts.speak(TEXT, lambda _: True, **setting)  # type: ignore[arg-type]


def test_missing_voice_data_is_an_error_and_no_fallback(tmp_path: Path) -> None:
    with pytest.raises(EspeakError, match=f"no voice data in {tmp_path}"):
        espeak_tts._Engine(Path("libespeak-ng.so"), tmp_path)


def test_a_library_that_cannot_be_loaded_is_an_error_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "phontab").touch()
    with pytest.raises(EspeakError, match=r"cannot be loaded.*nowhere"):
        espeak_tts._Engine(Path("/nowhere/libespeak-ng.so"), tmp_path)


def test_threads_that_speak_at_once_each_get_all_of_their_own_speech() -> None:
    alone_s = {rate: spoken_s(words_per_minute=rate) for rate in (100, 200, 400)}
    together_s: dict[int, float] = {}

    def speak(rate: int) -> None:
        for _ in range(20):
            together_s[rate] = spoken_s(words_per_minute=rate)

    threads = [threading.Thread(target=speak, args=(rate,)) for rate in alone_s]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together_s == pytest.approx(alone_s, rel=0.05)


async def frames_of(
    service: EspeakTTSService, *frames: Frame, params: PipelineParams | None = None
) -> tuple[list[Frame], list[Frame]]:
    down, up = await run_test(service, frames_to_send=frames, pipeline_params=params)
    return list(down), list(up)


async def test_the_service_speaks_at_the_rate_of_the_pipeline() -> None:
    params = PipelineParams(audio_out_sample_rate=16_000)
    down, up = await frames_of(EspeakTTSService(), TTSSpeakFrame(TEXT), params=params)
    audio = [frame for frame in down if isinstance(frame, TTSAudioRawFrame)]
    assert {(frame.sample_rate, frame.num_channels) for frame in audio} == {(16_000, 1)}
    pcm = b"".join(frame.audio for frame in audio)
    assert peak(pcm) > 3000
    assert len(pcm) / 2 / 16_000 == pytest.approx(spoken_s(), rel=0.1)
    assert not [frame for frame in up if isinstance(frame, ErrorFrame)]


async def test_the_service_marks_where_speech_starts_and_stops() -> None:
    down, _ = await frames_of(EspeakTTSService(), TTSSpeakFrame(TEXT))
    kinds = [type(frame) for frame in down if isinstance(frame, TTSStartedFrame | TTSAudioRawFrame | TTSStoppedFrame)]
    assert kinds[0] is TTSStartedFrame
    assert set(kinds[1:-1]) == {TTSAudioRawFrame}
    assert kinds[-1] is TTSStoppedFrame


async def test_the_service_reports_time_to_first_byte_and_characters() -> None:
    params = PipelineParams(enable_metrics=True, enable_usage_metrics=True)
    down, _ = await frames_of(EspeakTTSService(), TTSSpeakFrame(TEXT), params=params)
    data = [item for frame in down if isinstance(frame, MetricsFrame) for item in frame.data]
    assert [item.value for item in data if isinstance(item, TTSUsageMetricsData)] == [len(TEXT)]
    assert any(0 < item.value < 1 for item in data if isinstance(item, TTFBMetricsData))


async def test_settings_changed_during_a_call_hold_from_the_next_sentence_on() -> None:
    service = EspeakTTSService(settings=EspeakTTSSettings(words_per_minute=100))
    faster = EspeakTTSSettings(words_per_minute=300, voice="f3", language=Language.EN_GB)
    down, up = await frames_of(service, TTSSpeakFrame(TEXT), TTSUpdateSettingsFrame(delta=faster), TTSSpeakFrame(TEXT))
    bytes_spoken: dict[str | None, int] = {}
    for frame in down:
        if isinstance(frame, TTSAudioRawFrame):
            bytes_spoken[frame.context_id] = bytes_spoken.get(frame.context_id, 0) + len(frame.audio)
    slow, fast = bytes_spoken.values()
    assert fast < 0.5 * slow
    assert not [frame for frame in up if isinstance(frame, ErrorFrame)]


async def test_a_voice_that_does_not_exist_is_an_error_frame_that_names_it() -> None:
    service = EspeakTTSService(settings=EspeakTTSSettings(voice="nobody"), stop_frame_timeout_s=0.01)
    _, up = await frames_of(service, TTSSpeakFrame(TEXT))
    errors = [frame for frame in up if isinstance(frame, ErrorFrame)]
    assert "has no voice 'nobody'" in errors[0].error
    assert isinstance(errors[0].exception, EspeakError)


async def test_synthesis_does_not_block_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    asyncio.get_running_loop().call_soon(released.set)

    def speak_once_the_loop_has_run(_text: str, deliver: Callable[[bytes], bool], **_: object) -> None:
        assert released.wait(5), "the event loop stood still"
        deliver(b"\1\1")

    monkeypatch.setattr(espeak_tts, "speak", speak_once_the_loop_has_run)
    assert [chunk async for chunk in EspeakTTSService()._synthesize(TEXT)] == [b"\1\1"]


async def test_the_event_loop_turns_between_the_pieces_of_a_text_that_is_there_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def speak_at_once(_text: str, deliver: Callable[[bytes], bool], **_settings: object) -> None:
        for _ in range(10):
            deliver(b"\1\1")

    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(espeak_tts, "speak", speak_at_once)
    turning = asyncio.create_task(turn())
    turns_of_pieces = [turns async for _ in EspeakTTSService()._synthesize(TEXT)]
    turning.cancel()
    await asyncio.wait({turning})
    assert len(set(turns_of_pieces)) == 10


async def test_an_abandoned_sentence_ends_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def speak_for_ever(_text: str, deliver: Callable[[bytes], bool], **_: object) -> None:
        while deliver(b"\1\1"):
            pass
        ended.set()

    monkeypatch.setattr(espeak_tts, "speak", speak_for_ever)
    sentence = EspeakTTSService()._synthesize(TEXT)
    assert await anext(sentence) == b"\1\1"
    await sentence.aclose()
    assert ended.is_set()
