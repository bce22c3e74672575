"""What is worth telling of a call, found among the frames of its pipelines."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    MetricsFrame,
    TranscriptionFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import (
    LLMUsageMetricsData,
    MetricsData,
    STTUsageMetricsData,
    TTFBMetricsData,
    TTSUsageMetricsData,
)
from pipecat.observers.base_observer import FramePushed
from pipecat.processors.frame_processor import FrameDirection
from pipecat.utils.string import TextPartForConcatenation, concatenate_aggregated_text

from services.runner.allowance import Allowance
from services.runner.call.activity import LONGEST_TEXT, SPEECH_AT_ONCE, SPEECH_PER_S, Outlet
from services.runner.logs.bot_logs import without_secrets
from shared.contract import Metrics, PipelineError, Speaking, Transcript

Act: TypeAlias = Callable[[Any, FramePushed], None]
"""Called with a frame of its type, and how that was pushed."""

REMEMBERED = 500
"""How many frames that were told are remembered: another pipeline of the same bot may push one again."""


class ByType(dict[type[Frame], Act | None]):
    """What to do with a frame: one look-up by its type, which for nearly all frames says nothing."""

    def __missing__(self, kind: type[Frame]) -> Act | None:
        """A type that is new: as for the nearest of those that it is derived from."""
        act = next((self[base] for base in kind.__mro__[1:] if base in self), None)
        self[kind] = act
        return act


class Call:
    """One session's call, in however many pipelines: each thing in it is told once."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._told: dict[int, None] = {}
        self._speech = Allowance(SPEECH_PER_S, SPEECH_AT_ONCE)
        self._speaks = {"user": False, "bot": False}
        """As it was told, which may be less than there was."""
        self._user_silent_since: float | None = None
        self._bot_said: list[TextPartForConcatenation] = []
        self._used: dict[tuple[str, str], dict[str, float]] = {}
        """Usage that could not be told yet, by processor and model."""
        acts: dict[type[Frame], Act] = {
            UserStartedSpeakingFrame: lambda *_: self._speak("user", True),
            UserStoppedSpeakingFrame: lambda *_: self._speak("user", False),
            BotStartedSpeakingFrame: self._bot_starts,
            BotStoppedSpeakingFrame: self._bot_stops,
            VADUserStartedSpeakingFrame: self._user_makes_sound,
            VADUserStoppedSpeakingFrame: self._user_is_silent,
            TranscriptionFrame: self._user_said,
            TTSTextFrame: self._bot_says,
            TTSStoppedFrame: lambda *_: self._tell_what_bot_said(),
            MetricsFrame: self._measured,
            ErrorFrame: self._complained,
            EndFrame: lambda *_: self._ends(),
            CancelFrame: lambda *_: self._ends(),
        }
        self.acts: dict[type[Frame], Act] = {kind: partial(self._once, act) for kind, act in acts.items()}
        """What this does with which frames."""

    def _once(self, act: Act, frame: Frame, data: FramePushed) -> None:
        if self._is_new(data):
            act(frame, data)

    def _speak(self, who: Literal["user", "bot"], starts: bool) -> None:
        if starts == self._speaks[who]:
            return
        if not starts:
            # Paid for by its beginning, so that no side is left speaking for ever.
            self._outlet.tell(Speaking(**self._outlet.whose, who=who, what="stopped"), cost=0)
        elif not self._speech.take(time.monotonic()) or not self._outlet.tell(
            Speaking(**self._outlet.whose, who=who, what="started"), cost=2
        ):
            return
        self._speaks[who] = starts

    def _bot_starts(self, *_: object) -> None:
        if self._user_silent_since is not None:
            latency_s = time.time() - self._user_silent_since
            self._user_silent_since = None
            self._outlet.tell(Metrics(**self._outlet.whose, values={"latency_s": round(latency_s, 3)}))
        self._speak("bot", True)

    def _bot_stops(self, *_: object) -> None:
        self._speak("bot", False)
        self._tell_what_bot_said()

    def _user_makes_sound(self, *_: object) -> None:
        self._user_silent_since = None

    def _user_is_silent(self, frame: VADUserStoppedSpeakingFrame, _: FramePushed) -> None:
        self._user_silent_since = frame.timestamp - frame.stop_secs

    def _user_said(self, frame: TranscriptionFrame, _: FramePushed) -> None:
        if self._outlet.transcripts:
            self._tell_transcript("user", frame.text)

    def _bot_says(self, frame: TTSTextFrame, _: FramePushed) -> None:
        if self._outlet.transcripts and len(self._bot_said) < LONGEST_TEXT:
            self._bot_said.append(TextPartForConcatenation(frame.text, frame.includes_inter_frame_spaces))

    def _tell_what_bot_said(self) -> None:
        said, self._bot_said = self._bot_said, []
        self._tell_transcript("bot", concatenate_aggregated_text(said))

    def _tell_transcript(self, who: Literal["user", "bot"], text: str) -> None:
        if text := text.strip():
            self._outlet.tell(Transcript(**self._outlet.whose, who=who, text=_short(text)))

    def _measured(self, frame: MetricsFrame, _: FramePushed) -> None:
        for measured in frame.data:
            times, usage = taken(measured), used(measured)
            if not times and not usage:
                continue
            whose = (measured.processor, measured.model or "")
            usage = _sum(self._used.pop(whose, {}), usage)
            if not self._tell_metrics(whose, {**times, **usage}) and usage:
                self._used[whose] = usage

    def _tell_metrics(self, whose: tuple[str, str], values: Mapping[str, float], cost: int = 1) -> bool:
        processor, model = whose
        return self._outlet.tell(
            Metrics(**self._outlet.whose, values=dict(values), processor=processor, model=model), cost
        )

    def _complained(self, frame: ErrorFrame, data: FramePushed) -> None:
        processor = frame.processor or data.source
        self._outlet.tell(
            PipelineError(
                **self._outlet.whose,
                message=_short(without_secrets(str(frame.error))),
                processor=processor.name,
                fatal=frame.fatal or not processor.is_usable,
            )
        )

    def _ends(self) -> None:
        """Nothing may come after this: tell what is left."""
        self._tell_what_bot_said()
        for whose, usage in self._used.items():
            self._tell_metrics(whose, usage, cost=0)
        self._used.clear()

    def _is_new(self, data: FramePushed) -> bool:
        """Whether this has not been told: not as this frame, nor as the one that was sent the other way with it."""
        frame = data.frame
        if frame.id in self._told:
            return False
        if frame.broadcast_sibling_id is not None and data.direction is not FrameDirection.DOWNSTREAM:
            return False
        self._told[frame.id] = None
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        return True


def taken(measured: MetricsData) -> dict[str, float]:
    """How long something took. Pipecat begins with zeros that were not measured."""
    if isinstance(measured, TTFBMetricsData) and measured.value > 0:
        return {"ttfb_s": round(measured.value, 3)}
    return {}


def used(measured: MetricsData) -> dict[str, float]:
    """What was used up since the last time."""
    match measured:
        case LLMUsageMetricsData(value=tokens):
            kinds = ("prompt_tokens", "completion_tokens", "total_tokens", "cache_read_input_tokens")
            return {kind: count for kind in kinds if (count := getattr(tokens, kind)) is not None}
        case TTSUsageMetricsData(value=characters):
            return {"characters": characters}
        case STTUsageMetricsData(value=audio):
            return {"audio_s": round(audio.audio_seconds, 3)}
    return {}


def _sum(*parts: Mapping[str, float]) -> dict[str, float]:
    names: Iterable[str] = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0) for part in parts) for name in names}


def _short(text: str) -> str:
    # A model's tokens may end in the middle of a character, which is no text.
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode()
