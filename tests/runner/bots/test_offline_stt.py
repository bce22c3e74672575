"""PocketSphinx, with eSpeak NG for a speaker."""

import numpy as np
import pytest
import soxr  # type: ignore[import-untyped]

from services.runner.bots import offline_stt
from tests.speech import speech
from tests.webrtc_peer import MICROPHONE_RATE_HZ


def heard(text: str, voice: str = "f5") -> str:
    """What is recognized of this, a little noise before and after it."""
    noise = np.random.default_rng(1).normal(0, 6, offline_stt.SAMPLE_RATE_HZ).astype(np.int16)
    samples = np.frombuffer(speech(text, voice), dtype=np.int16)
    spoken = soxr.resample(samples, MICROPHONE_RATE_HZ, offline_stt.SAMPLE_RATE_HZ).astype(np.int16)
    return offline_stt.recognize(np.concatenate([noise, spoken, noise]).tobytes())


@pytest.mark.parametrize(
    "question",
    [
        "what is seven times six",
        "how much is twelve plus thirty",
        "what time is it",
        "what is the date today",
        "tell me your name",
        "what can you do",
        "thank you very much",
    ],
)
def test_a_question_that_can_be_answered_is_understood(question: str) -> None:
    assert heard(f"{question}?") == question


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("I would like to talk to a human.", "like"),
        ("The quick brown fox jumps over the lazy dog.", "lazy"),
    ],
)
def test_other_english_is_not_taken_for_a_question(text: str, word: str) -> None:
    found = heard(text)
    assert word in found.split()


@pytest.mark.parametrize("nothing", [b"", bytes(32_000), bytes(100), bytes([9, 0] * 400)], ids=len)
def test_silence_has_no_words(nothing: bytes) -> None:
    assert offline_stt.recognize(nothing) == ""
