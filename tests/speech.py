"""Speech for the bot's ears, made by eSpeak NG."""

import wave
from pathlib import Path

from services.runner.bots import espeak_tts
from tests.webrtc_peer import MICROPHONE_RATE_HZ


def speech(text: str, voice: str = "f3") -> bytes:
    """Say something that smart turn takes for finished (it is not sure with every voice of eSpeak NG)."""
    pcm = bytearray()

    def deliver(chunk: bytes) -> bool:
        pcm.extend(chunk)
        return True

    espeak_tts.speak(text, deliver, voice=voice)
    return bytes(pcm)


def write_wav(file: Path, *pcm: bytes) -> None:
    """A sound file of these, one after the other."""
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(MICROPHONE_RATE_HZ)
        sound.writeframes(b"".join(pcm))


def silence(seconds: float) -> bytes:
    """Nothing, for a while."""
    return bytes(2 * int(MICROPHONE_RATE_HZ * seconds))
