"""Text to speech that needs no account and no network: eSpeak NG as a Pipecat service.

The shared library and its voices come from the ``espeakng-loader`` wheel. The library keeps its state (voice, rate,
callback) in C globals, so a process has one of it and synthesizes one text at a time, in a thread. It starts no threads
of its own, and is about a thousand times faster than real time.

    EspeakError    the library or its data is missing, or a setting names something it does not have
"""

import asyncio
import ctypes
import functools
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import espeakng_loader  # type: ignore[import-untyped]
from pipecat.frames.frames import ErrorFrame, Frame
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.transcriptions.language import Language
from pipecat.utils.tracing.service_decorators import traced_tts
from pipecat.utils.types import NOT_GIVEN, NotGiven, assert_given, require_given

# From espeak-ng/speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_PARAMETER_RATE = 1
_CHARS_UTF8 = 0x1
_ENDPAUSE = 0x1000
_EE_OK = 0
_CONTINUE, _ABORT = 0, 1
_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

_CHUNK_MS = 60  # the library goes no lower
SLOWEST_WORDS_PER_MINUTE, FASTEST_WORDS_PER_MINUTE = 80, 450

# Languages that eSpeak NG knows under another code than everyone else.
_OTHER_CODES = {"no": "nb", "zh": "cmn", "zh-hk": "yue"}

_library_lock = threading.Lock()


class EspeakError(Exception):
    """eSpeak NG cannot speak; the message says why and, for a setting, which value it refused."""


def load() -> int:
    """Load eSpeak NG into this process, unless it is; return its sample rate in Hz.

    Takes a few milliseconds. Speaking does it by itself; calling it earlier only moves the wait.

    Raises:
        EspeakError: The shared library or its data cannot be loaded.
    """
    with _library_lock:
        return _engine().sample_rate_hz


def check(*, language: str, voice: str | None) -> None:
    """See whether there is such a language, and such a voice variant.

    Raises:
        EspeakError: There is not; the text says what there is.
    """
    with _library_lock:
        _engine().select(language, voice, SLOWEST_WORDS_PER_MINUTE)


def speak(
    text: str,
    deliver: Callable[[bytes], bool],
    *,
    language: str = "en-us",
    voice: str | None = None,
    words_per_minute: int = 175,
) -> None:
    """Synthesize ``text``, blocking until all of it is delivered or refused.

    Args:
        text: Plain text; markup is read aloud.
        deliver: Called from this thread with each piece of 16-bit mono PCM at the rate `load` returns; stops the
            synthesis by returning False. It must not raise.
        language: A language code like ``en-us`` or ``de``; an unknown region falls back to its language.
        voice: One of eSpeak NG's voice variants, like ``f3``, or None for the language's own voice.
        words_per_minute: Between 80 and 450.

    Raises:
        EspeakError: There is no such language, voice or speed, or the library failed.
    """
    with _library_lock:
        engine = _engine()
        engine.select(language, voice, words_per_minute)
        engine.speak(text, deliver)


class _Engine:
    """The loaded library. Every call needs `_library_lock`."""

    def __init__(self, library_path: Path, data_path: Path) -> None:
        # Without its data the library silently falls back to a path on the machine it was built on.
        if not (data_path / "phontab").is_file():
            raise EspeakError(f"eSpeak NG has no voice data in {data_path}")
        try:
            self._library = ctypes.CDLL(str(library_path))
        except OSError as error:
            raise EspeakError(f"eSpeak NG cannot be loaded: {error}") from error
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p,  # text
            ctypes.c_size_t,  # its size with the terminating zero
            ctypes.c_uint,  # start position
            ctypes.c_int,  # and its unit
            ctypes.c_uint,  # end position, 0 for none
            ctypes.c_uint,  # flags
            ctypes.c_void_p,  # where to put an identifier
            ctypes.c_void_p,  # user data
        ]
        self.sample_rate_hz: int = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, _CHUNK_MS, str(data_path).encode(), _INITIALIZE_DONT_EXIT
        )
        if self.sample_rate_hz <= 0:
            raise EspeakError(f"eSpeak NG cannot start with the voice data in {data_path}")
        # The library ignores a variant it does not have, so that a wrong name would go unnoticed.
        self._variants = frozenset(file.name for file in (data_path / "voices" / "!v").iterdir())

    def select(self, language: str, voice: str | None, words_per_minute: int) -> None:
        if voice is not None and voice not in self._variants:
            raise EspeakError(f"eSpeak NG has no voice {voice!r}; it has {', '.join(sorted(self._variants))}")
        if not SLOWEST_WORDS_PER_MINUTE <= words_per_minute <= FASTEST_WORDS_PER_MINUTE:
            raise EspeakError(
                f"words_per_minute must be between {SLOWEST_WORDS_PER_MINUTE} and {FASTEST_WORDS_PER_MINUTE}, "
                f"not {words_per_minute}"
            )
        suffix = f"+{voice}" if voice else ""
        if not any(self._choose_voice(code + suffix) for code in _codes_to_try(language)):
            raise EspeakError(f"eSpeak NG does not speak the language {language!r}")
        self._library.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)

    def _choose_voice(self, name: str) -> bool:
        return bool(self._library.espeak_SetVoiceByName(name.encode()) == _EE_OK)

    def speak(self, text: str, deliver: Callable[[bytes], bool]) -> None:
        def on_samples(samples: Any, count: int, _events: int | None) -> int:
            if not samples or count == 0:  # the end is announced without samples
                return _CONTINUE
            return _CONTINUE if deliver(ctypes.string_at(samples, count * 2)) else _ABORT

        callback = _SynthCallback(on_samples)  # lives as long as this call, and nobody calls it later
        self._library.espeak_SetSynthCallback(callback)
        encoded = text.replace("\0", " ").encode()
        status = self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _CHARS_UTF8 | _ENDPAUSE, None, None)
        if status != _EE_OK:
            raise EspeakError(f"eSpeak NG failed with status {status}")


@functools.cache
def _engine() -> _Engine:
    try:
        data_path = Path(espeakng_loader.get_data_path())
    except RuntimeError as error:
        raise EspeakError(f"eSpeak NG has no voice data: {error}") from error
    return _Engine(Path(espeakng_loader.get_library_path()), data_path)


def _codes_to_try(language: str) -> list[str]:
    code = language.lower()
    base = code.partition("-")[0]
    return [_OTHER_CODES.get(code, code), _OTHER_CODES.get(base, base)]


@dataclass
class EspeakTTSSettings(TTSSettings):
    """Settings of `EspeakTTSService`; each can be changed during a call and holds from the next sentence on.

    Parameters:
        language: As in `TTSSettings`; a region that eSpeak NG lacks falls back to its language.
        voice: One of eSpeak NG's voice variants (``f1`` to ``f5``, ``m1`` to ``m8``, names); None for the
            language's own voice.
        words_per_minute: Speed of speech, between 80 and 450.
    """

    words_per_minute: int | NotGiven = field(default_factory=lambda: NOT_GIVEN)


class EspeakTTSService(TTSService):
    """Speaks with eSpeak NG, inside this process and without a network.

    A setting that eSpeak NG does not have shows up as an error frame when something is to be spoken.
    """

    Settings = EspeakTTSSettings
    _settings: EspeakTTSSettings

    def __init__(self, *, settings: EspeakTTSSettings | None = None, **kwargs: Any) -> None:
        """Build the service; nothing is loaded before the first sentence (or `load`).

        Args:
            settings: What differs from American English at 175 words per minute.
            **kwargs: As for `TTSService`.
        """
        chosen = EspeakTTSSettings(model=None, voice=None, language=Language.EN_US, words_per_minute=175)
        if settings is not None:
            chosen.apply_update(settings)
        super().__init__(push_start_frame=True, push_stop_frames=True, settings=chosen, **kwargs)

    def can_generate_metrics(self) -> bool:
        """Tell Pipecat that time to first byte and usage are measured."""
        return True

    def language_to_service_language(self, language: Language) -> str:
        """Return the code under which eSpeak NG looks for ``language``."""
        return language.value.lower()

    @traced_tts
    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Speak ``text``: yields audio frames while it is synthesized, or one error frame."""
        try:
            await self.start_tts_usage_metrics(text)
            sample_rate_hz = await asyncio.to_thread(load)
            async with aclosing(self._synthesize(text)) as pcm:
                frames = self._stream_audio_frames_from_iterator(
                    pcm, in_sample_rate=sample_rate_hz, context_id=context_id
                )
                async for frame in frames:
                    await self.stop_ttfb_metrics()
                    yield frame
        except EspeakError as error:
            yield ErrorFrame(error=str(error), exception=error)
        finally:
            await self.stop_ttfb_metrics()

    async def _synthesize(self, text: str) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        abandoned = threading.Event()

        def deliver(chunk: bytes) -> bool:
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            return not abandoned.is_set()

        def speak_and_close() -> None:
            try:
                speak(
                    text,
                    deliver,
                    language=str(require_given(self._settings.language, "eSpeak NG language")),
                    voice=assert_given(self._settings.voice),
                    words_per_minute=assert_given(self._settings.words_per_minute),
                )
            finally:
                loop.call_soon_threadsafe(chunks.put_nowait, None)

        job = loop.run_in_executor(None, speak_and_close)
        try:
            while (chunk := await chunks.get()) is not None:
                yield chunk
                # A sentence is there at once, and resampling all of it in one turn holds up the call's sound.
                await asyncio.sleep(0)
            await job
        finally:
            # An interrupted sentence must be gone before the next one, and before the loop it reports to closes.
            abandoned.set()
            await asyncio.gather(job, return_exceptions=True)
