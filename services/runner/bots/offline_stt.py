"""Speech to text that needs no account and no network: PocketSphinx as a Pipecat service, English only.

The model in the ``pocketsphinx`` wheel is small and old. So each utterance is first taken for one of the questions that
the offline responder can answer, by a grammar, which is quick and mostly right. What does not sound like any of them is
heard by the model's general English, which gets about every second word.
"""

import asyncio
import math
import threading
from collections.abc import AsyncGenerator
from functools import cache
from typing import Any

import numpy as np
from pipecat.frames.frames import Frame, TranscriptionFrame
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.transcriptions.language import Language
from pipecat.utils.time import time_now_iso8601
from pipecat.utils.tracing.service_decorators import traced_stt
from pocketsphinx import Decoder  # type: ignore[import-untyped]

SAMPLE_RATE_HZ = 16_000

_QUESTIONS = """#JSGF V1.0;
grammar questions;
<digit> = one | two | three | four | five | six | seven | eight | nine;
<teen> = ten | eleven | twelve | thirteen | fourteen | fifteen | sixteen | seventeen | eighteen | nineteen;
<tens> = twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety;
<small> = zero | <digit> | <teen> | <tens> [<digit>];
<number> = <small> | (a | <digit>) hundred [[and] <small>];
<factor> = <digit> | <teen>;
<sum> = <number> ((plus | minus) <number>)+ | <factor> (times | multiplied by) <factor> | <number> divided by <factor>;
<ask> = what is | what's | how much is | calculate | and;
<time> = (what time is it | what is the time | what's the time | tell me the time) [now | please];
<date> = (what is the date | what's the date | what day is it | what is the day | tell me the date) [today | please];
<hello> = hello | hello there | good morning | good evening | hello how are you | how are you;
<name> = who are you | what is your name | what's your name | tell me your name;
<help> = what can you do | what can i ask you;
<thanks> = thank you | thank you very much | thanks a lot;
<goodbye> = goodbye | bye bye | good night | see you later;
public <question> =
  [<ask>] <sum> | <time> | <date> | <hello> | <name> | <help> | <thanks> | <goodbye>;
"""
_GRAMMAR, _GENERAL_ENGLISH = "questions", "_default"
_LEAST_LIKENESS = -0.0051
"""Per frame of 10 ms, in natural logarithms: nearly all questions that were asked are above, most else is below."""
_LEAST_COVER = 0.6
"""How much of an utterance must be the question's words, and not noise beside them."""
_MOMENT = SAMPLE_RATE_HZ // 50
_LOUD = 0.05
"""As part of the loudest moment: what is quieter, before and after the speech, is left out. It says nothing, but fits
everything."""
_BEFORE, _AFTER = 5, 15
_SHORTEST = SAMPLE_RATE_HZ // 5 * 2
_LONGEST_QUESTION = SAMPLE_RATE_HZ * 5 * 2
_CHUNK = SAMPLE_RATE_HZ // 10 * 2
"""The library keeps the interpreter to itself while it works: for a fortieth of a question, or 50 ms for a chunk."""

_decoder_lock = threading.Lock()


def load() -> None:
    """Load the recognizer into this process, unless it is: a tenth of a second and 90 MB, which forks share."""
    with _decoder_lock:
        _decoder()


def recognize(pcm: bytes) -> str:
    """What is said in this: 16-bit mono PCM at `SAMPLE_RATE_HZ`. Blocks, for a fifth of the speech's length at most."""
    speech = _without_silence(pcm)
    if len(speech) < _SHORTEST:
        return ""
    with _decoder_lock:
        return _question(speech) or _anything(speech)


@cache
def _decoder() -> Any:
    decoder = Decoder(samprate=SAMPLE_RATE_HZ, fwdflat=False, bestpath=False, loglevel="FATAL")
    decoder.add_jsgf_string(_GRAMMAR, _QUESTIONS)
    return decoder


def _question(pcm: bytes) -> str:
    """The question that this sounds like, or nothing."""
    if len(pcm) > _LONGEST_QUESTION:
        return ""
    # As a whole, so that its loudness is measured in it, and not in what was said before.
    decoder = _decoded(_GRAMMAR, [pcm], whole=True)
    heard = decoder.hyp()
    frames = decoder.n_frames()
    if heard is None or not heard.hypstr or math.log(heard.score) / frames < _LEAST_LIKENESS:
        return ""
    words = [part for part in decoder.seg() if part.word[0] not in "<[("]
    covered = sum(word.end_frame - word.start_frame + 1 for word in words)
    silent = sum(part.end_frame - part.start_frame + 1 for part in decoder.seg() if part.word[0] in "<(")
    return str(heard.hypstr) if covered >= _LEAST_COVER * (frames - silent) else ""


def _anything(pcm: bytes) -> str:
    chunks = [pcm[start : start + _CHUNK] for start in range(0, len(pcm), _CHUNK)]
    heard = _decoded(_GENERAL_ENGLISH, chunks, whole=False).hyp()
    return str(heard.hypstr) if heard else ""


def _without_silence(pcm: bytes) -> bytes:
    samples = np.frombuffer(pcm, np.int16)
    moments = samples[: len(samples) // _MOMENT * _MOMENT].reshape(-1, _MOMENT).astype(np.float64)
    loudness = np.sqrt(np.mean(np.square(moments), axis=1))
    loud = np.flatnonzero(loudness > _LOUD * loudness.max(initial=0))
    if not len(loud):
        return b""
    return samples[max(loud[0] - _BEFORE, 0) * _MOMENT : (loud[-1] + _AFTER) * _MOMENT].tobytes()


def _decoded(search: str, chunks: list[bytes], *, whole: bool) -> Any:
    decoder = _decoder()
    decoder.activate_search(search)
    decoder.start_utt()
    try:
        for chunk in chunks:
            decoder.process_raw(chunk, full_utt=whole)
    finally:
        decoder.end_utt()
    return decoder


class OfflineSTTService(SegmentedSTTService):
    """Hears with PocketSphinx, inside this process and without a network."""

    def __init__(self, **kwargs: Any) -> None:
        """Build the service; nothing is loaded before the first utterance (or `load`).

        Args:
            **kwargs: As for `SegmentedSTTService`.
        """
        settings = STTSettings(model="pocketsphinx en-us", language=Language.EN)
        # Its silence would be digital, which is like nothing that the model was trained on.
        super().__init__(
            sample_rate=SAMPLE_RATE_HZ, trailing_silence_secs=0, ttfs_p99_latency=1.0, settings=settings, **kwargs
        )

    def can_generate_metrics(self) -> bool:
        """Tell Pipecat that time to first byte and processing time are measured."""
        return True

    @property
    def wants_wav_segments(self) -> bool:
        """PCM will do."""
        return False

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Recognize one utterance: yields its transcription, or nothing if there are no words in it."""
        await self.start_processing_metrics()
        text = await asyncio.to_thread(recognize, audio)
        await self.stop_processing_metrics()
        if text:
            await self._handle_transcription(text, is_final=True, language=Language.EN)
            yield TranscriptionFrame(text, self._user_id, time_now_iso8601(), Language.EN)

    @traced_stt
    async def _handle_transcription(self, transcript: str, is_final: bool, language: Language | None = None) -> None:
        """Where Pipecat's tracing looks for transcriptions."""
