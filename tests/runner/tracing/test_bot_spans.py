"""What of a session process's spans leaves it."""

from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from services.runner.logs import bot_logs
from services.runner.pipe import Recorded
from services.runner.tracing.bot_spans import AT_ONCE, LONGEST_TEXT, Outlet, message_of


def a_span(scope: str, name: str, attributes: dict[str, Any]) -> ReadableSpan:
    provider = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
    span = provider.get_tracer(scope).start_span(name)
    for key, value in attributes.items():
        span.set_attribute(key, value)
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


SAID = {
    "text": "Hi",
    "transcript": "Hi",
    "input": "[]",
    "output": "Hi",
    "tools": "[]",
    "gen_ai__system_instructions": "Be",
}
MEASURED = {"gen_ai.usage.input_tokens": 3, "gen_ai.request.model": "m", "metrics.ttfb": 0.25, "voice_id": "f1"}


@pytest.mark.parametrize(("transcripts", "told"), [(False, MEASURED), (True, {**MEASURED, **SAID})])
def test_what_is_said_leaves_the_process_only_with_transcripts(transcripts: bool, told: dict[str, Any]) -> None:
    sent = message_of(a_span("pipecat", "llm", {**MEASURED, **SAID}), transcripts=transcripts)
    assert sent.attributes == told


def test_spans_of_the_bots_own_are_told_whole_but_for_the_sessions_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot_logs, "_secrets", {"t0ken"})
    sent = message_of(a_span("my.bot", "get ?t=t0ken", {"text": "the t0ken", "long": "x" * 9999}), transcripts=False)
    assert sent.name == "get ?t=[token]"
    assert sent.attributes == {"text": "the [token]", "long": "x" * LONGEST_TEXT}


def test_a_span_with_half_a_character_is_told_without_it() -> None:
    """It raised as the span ended: in the bot's own code."""
    sent = message_of(a_span("my.bot", "step", {"text": "half \ud83d"}), transcripts=False)
    assert msgspec.json.decode(msgspec.json.encode(sent), type=Recorded).attributes == {"text": "half ?"}


async def test_a_bot_that_records_without_end_tells_so_many_spans_and_no_more() -> None:
    told: list[Recorded] = []
    outlet = Outlet()
    outlet.open(told.append)
    message = message_of(a_span("my.bot", "step", {}), transcripts=False)
    for _ in range(10 * AT_ONCE):
        outlet.tell(message)
    assert AT_ONCE <= len(told) < 2 * AT_ONCE
