"""What is told of a call: by a real runner, from real pipelines."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from shared import contract
from shared.contract import (
    ACTIVITY,
    SESSION_ACTIVITY_KEPT,
    AnyActivity,
    Ended,
    Launch,
    Leave,
    Metrics,
    PipelineError,
    Reason,
    Running,
    Speaking,
    Transcript,
)
from shared.redis.connection import Redis
from shared.redis.entries import Decoder, milliseconds
from shared.redis.streams import between
from tests.launching import SCRIPTED, offer, send
from tests.processes import Child, Children, session_event
from tests.waiting import until

TALKING = str(SCRIPTED.parent / "talking.py")
StartRunner = Callable[..., Child]
TURN = [
    "user_starts",
    "sound",
    "user Good morning.",
    "silence",
    "user_stops",
    "bot_starts",
    "bot Hello,",
    "bot there.",
    "bot_stops",
]

_activity = Decoder[AnyActivity](AnyActivity)


@pytest.fixture
def start(children: Children) -> StartRunner:
    """Starts a runner with the talking bot."""
    return lambda **env: children.service("runner", **{"BOT": TALKING, "STOP_GRACE": "5", **env})


async def activity(redis: Redis, launch: Launch) -> list[Any]:
    """All that was told of a session so far."""
    return [_activity(fields) for _, fields in await between(redis, contract.activity_key(launch.session_id))]


async def over(redis: Redis, launch: Launch, last: str) -> list[Any]:
    """The session's activity, when all is written: it is told to leave once this has been told."""

    async def told() -> bool:
        return last in repr(await activity(redis, launch))

    await session_event(redis, launch.session_id, Running)
    await until(told)
    await send(redis, launch, Leave(command_id="l"))
    assert (await session_event(redis, launch.session_id, Ended)).reason is Reason.LEFT
    return await activity(redis, launch)


def brief(told: list[Any]) -> list[str]:
    """What it is about, in short."""
    short = []
    for one in told:
        match one:
            case Speaking(who=who, what=what):
                short.append(f"{who} {what}")
            case Transcript(who=who, text=text):
                short.append(f"{who}: {text}")
            case Metrics(values=values):
                short.append(" ".join(values))
            case _:
                short.append(type(one).__name__)
    return short


async def test_a_turn_is_told_in_order_and_what_was_said_only_if_that_is_allowed(
    redis: Redis, start: StartRunner
) -> None:
    start(EVENTS_TRANSCRIPTS="1")
    launch = await offer(redis, body={"frames": ["broken", *TURN]})
    told = await over(redis, launch, "Hello")
    assert brief(told) == [
        "user started",
        "user: Good morning.",
        "user stopped",
        "latency_s",
        "bot started",
        "bot stopped",
        "bot: Hello, there.",
    ]
    assert {(one.session_id, one.attempt, one.dropped) for one in told} == {(launch.session_id, 1, 0)}
    fleets = await between(redis, ACTIVITY)
    assert fleets == await between(redis, contract.activity_key(launch.session_id))
    assert all(0 <= one.ago_s < 5 for one in told)
    assert milliseconds(fleets[-1][0]) - milliseconds(fleets[0][0]) < 1000, "they were written together"


async def test_speech_is_private_unless_said_otherwise_and_several_pipelines_tell_a_thing_once(
    redis: Redis, start: StartRunner
) -> None:
    start()
    frames = [*TURN, "ttfb 0.25", "tokens", "characters 12", "error the key s3cret is wrong", "ttfb 0"]
    launch = await offer(redis, token="s3cret", body={"frames": frames, "workers": 3})
    told = await over(redis, launch, "PipelineError")
    counted = Counter(brief(told))
    assert counted == {
        "user started": 1,
        "user stopped": 1,
        "bot started": 1,
        "bot stopped": 1,
        "latency_s": 1,
        "ttfb_s": 1,
        "prompt_tokens completion_tokens total_tokens": 1,
        "characters": 1,
        "PipelineError": 1,
    }
    (error,) = [one for one in told if isinstance(one, PipelineError)]
    assert "s3cret" not in error.message
    assert "the key [token] is wrong" in error.message
    (ttfb,) = [one for one in told if isinstance(one, Metrics) and "ttfb_s" in one.values]
    assert (ttfb.values, ttfb.processor, ttfb.model) == ({"ttfb_s": 0.25}, "LLM#0", "small")


async def test_of_a_flood_some_is_told_the_rest_counted_and_no_usage_is_lost(redis: Redis, start: StartRunner) -> None:
    start()
    frames = ["ttfb 0.5"] * 100 + ["user_starts", "user_stops"] * 50 + ["tokens"] * 300
    launch = await offer(redis, body={"frames": frames})
    await session_event(redis, launch.session_id, Running)
    told = await over(redis, launch, "ttfb_s")
    assert len(told) < 100
    assert max(one.dropped for one in told) > 20
    total = sum(one.values.get("total_tokens", 0) for one in told if isinstance(one, Metrics))
    assert total == 300 * 15
    speech = [one.what for one in told if isinstance(one, Speaking)]
    assert speech == ["started", "stopped"] * (len(speech) // 2)


async def test_a_process_that_breaks_its_bounds_is_held_to_them_and_speaks_for_no_other_session(
    redis: Redis, start: StartRunner
) -> None:
    start()
    launch = await offer(redis, body={"frames": [], "flood": 20_000})
    told = await over(redis, launch, "PipelineError")
    assert {(one.session_id, one.attempt) for one in told} == {(launch.session_id, 1)}
    assert 0 < len(told) < SESSION_ACTIVITY_KEPT / 2
    assert [key for key in await redis.keys("*") if "another" in str(key)] == []


async def test_a_session_leaves_its_history_and_its_activity_for_the_same_time(
    redis: Redis, start: StartRunner
) -> None:
    start()
    launch = await offer(redis, body={"frames": TURN})
    await over(redis, launch, "stopped")
    found: Any = await redis.keys("*")
    assert sorted(found) == [
        "{bot}:activity",
        f"{{bot}}:activity:{launch.session_id}",
        "{bot}:events",
        "{bot}:launch",
        "{bot}:relaunch",
        "{bot}:runners",
        f"{{bot}}:session:{launch.session_id}",
    ]
    kept_s = [await redis.ttl(key(launch.session_id)) for key in (contract.activity_key, contract.session_key)]
    assert 0 < kept_s[0] <= kept_s[1] <= contract.SESSION_KEPT_S
