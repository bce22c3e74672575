"""A launch is one trace, from the request to the bot's voice, as real processes tell it to a collector."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from shared.contract import Running
from shared.launches import Launches, decode
from shared.redis.connection import Redis
from shared.redis.streams import Fields
from shared.tracing import traceparent
from shared.tracing.span_export import CLOSE_WITHIN_S
from tests.conftest import StartFleet
from tests.fakes.otlp import Collector, collecting
from tests.launching import SCRIPTED, records
from tests.processes import Children, Fleet, free_port
from tests.test_webrtc_call import ASSISTANT, caller

CALLERS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLERS = f"00-{CALLERS_TRACE}-00f067aa0ba902b7-01"


def path_of(collector: Collector, name: str, trace_id: str) -> list[str]:
    """The names of the spans that a span of this name is in, outermost first."""
    by_id = {span.span_id: span for span in collector.spans if span.trace_id == trace_id}
    span = next(span for span in collector.named(name) if span.trace_id == trace_id)
    path = [span.name]
    while span.parent_id in by_id:
        span = by_id[span.parent_id]
        path.insert(0, span.name)
    return path


async def test_a_launch_is_one_trace_from_the_request_to_the_first_sound_with_pipecats_own_spans(
    fleet_of: StartFleet, tell: Callable[..., None]
) -> None:
    async with collecting() as collector, fleet_of(bot=ASSISTANT, slots=1, **collector.env) as fleet:
        named = {"traceparent": CALLERS}
        started = await fleet.http.post("/start", json={"transport": "webrtc"}, headers=named)
        session_id = started.json()["sessionId"]
        async with caller(fleet, session_id) as peer:
            await peer.wait_for_sound()
            said = await fleet.http.post("/admin", json={"session_id": session_id, "type": "interrupt", "wait": 20})
        await collector.until(lambda seen: all(map(seen.named, ("session", "conversation", "POST /admin"))))
        log = fleet.runners[0].output()
    tell(collector.tree(CALLERS_TRACE), under="A launch as a tree")
    launch = ["POST /start", "offer {bot}:launch", "session"]
    for name in ("start bot", "hand over", "enter room", "first audio", "conversation"):
        assert path_of(collector, name, CALLERS_TRACE) == [*launch, name]
    assert path_of(collector, "tts", CALLERS_TRACE) == [*launch, "conversation", "turn", "tts"]
    [delivered] = collector.named("deliver interrupt")
    command = ["POST /admin", "send {bot}:commands", "deliver interrupt"]
    assert path_of(collector, "deliver interrupt", delivered.trace_id) == command
    assert (delivered.attributes["pipefleet.outcome"], said.json()["outcome"]) == ("delivered", "delivered")
    services = {span.name: span.service for span in collector.spans}
    assert services["POST /start"] == services["offer {bot}:launch"] == "pipefleet-gateway"
    assert services["session"] == services["first audio"] == services["conversation"] == "pipefleet-runner"
    [session] = collector.named("session")
    assert session.kind == "consumer"
    assert (session.attributes["session.id"], session.attributes["pipefleet.reason"]) == (session_id, "completed")
    assert f'"trace_id":"{CALLERS_TRACE}"' in log
    assert not any(b"Pipefleet's assistant" in body for body in collector.raw), "what is said is not told"


async def test_a_cold_start_and_the_next_attempt_of_a_bot_that_died_are_in_the_same_trace(
    fleet_of: StartFleet, tmp_path: Path, tell: Callable[..., None]
) -> None:
    record = tmp_path / "record"
    env = {"BOT_RECORD": str(record), "OVERFLOW_GRACE": "0.05"}
    async with collecting() as collector, fleet_of(bot=SCRIPTED, runners=0, **env, **collector.env) as fleet:
        asked = {"do": "stay", "secret": "what-the-body-says"}
        joined = await fleet.join(wait_s=30, transport="none", token="the-rooms-token", body=asked)
        os.kill(records(record)[0].pid, signal.SIGKILL)
        await fleet.event(joined["session_id"], Running, attempt=2)
        await fleet.http.post("/leave", json={"room_url": joined["room_url"]})
        await collector.until(lambda seen: len(seen.named("session")) == 2 and seen.named("cold start"))
    first, second = collector.named("session")
    tell(collector.tree(first.trace_id), under="A cold start and a bot that died, as a tree")
    trace_id = first.trace_id
    assert {span.trace_id for span in collector.spans if "pipefleet.attempt" in span.attributes} == {trace_id}
    assert [span.attributes["pipefleet.attempt"] for span in (first, second)] == [1, 2]
    assert [span.attributes["pipefleet.reason"] for span in (first, second)] == ["bot_died", "left"]
    assert [span.failed for span in (first, second)] == [True, False]
    offered, requeued = ["POST /join", "offer {bot}:launch"], ["session", "requeue {bot}:relaunch"]
    assert path_of(collector, "cold start", trace_id) == [*offered, "cold start"]
    assert path_of(collector, "requeue {bot}:relaunch", trace_id) == [*offered, *requeued]
    by_id = {span.span_id: span for span in collector.spans}
    assert by_id[second.parent_id].name == "requeue {bot}:relaunch"
    [cold] = collector.named("cold start")
    assert (cold.service, cold.events[0]) == ("pipefleet-operator", "created")
    for secret in (b"what-the-body-says", b"the-rooms-token"):
        assert not any(secret in body for body in collector.raw)


POISON = """
import sys
with open({file!r}, "a") as file:
    file.write(" ".join(sys.orig_argv) + chr(10))
raise ImportError("nobody traces")
"""


async def test_without_a_collector_no_service_imports_opentelemetry_and_the_callers_trace_is_in_every_log(
    fleet_of: StartFleet, tmp_path: Path
) -> None:
    importers, package = tmp_path / "importers", tmp_path / "path" / "opentelemetry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(POISON.format(file=str(importers)))
    env = {"BOT_RECORD": str(tmp_path / "record"), "PYTHONPATH": str(package.parent)}
    async with fleet_of(bot=SCRIPTED, slots=1, **env) as fleet:
        body = {"transport": "none", "body": {"do": "stay"}}
        joined = await fleet.http.post("/join", params={"wait": 20}, json=body, headers={"traceparent": CALLERS})
        [(_, launch)] = await Launches(fleet.redis).live(10)
        assert decode(launch).traceparent == CALLERS
        fresh = (await fleet.join(transport="none"))["session_id"]
        traces = {one.session_id: one.traceparent for one in map(decode, await waiting(fleet.redis))}
        assert traceparent.trace_id(traces[fresh]) not in {"", CALLERS_TRACE}
        await fleet.http.post("/leave", json={"session_id": joined.json()["session_id"]})
        await fleet.runners[0].said("attempt_over")
    for child in (fleet.gateway, fleet.runners[0]):
        assert f'"trace_id":"{CALLERS_TRACE}"' in child.output()
    imported_by = importers.read_text().splitlines() if importers.exists() else []
    assert [line for line in imported_by if "services.runner.forking.zygote" not in line] == []


async def waiting(redis: Redis) -> list[Fields]:
    """All live launches, as they stand in the streams."""
    return [fields for _, fields in await Launches(redis).live(10)]


async def test_a_collector_that_never_answers_holds_nobody_up(children: Children, redis: Redis) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "10", "LOG_FORMAT": "json"}
        fleet = Fleet(children, redis, env)
        await fleet.until_counted(free=0)
        for _ in range(5):
            await fleet.join(transport="none")
        connection, _ = await asyncio.to_thread(silent.accept)
        asked_at = time.monotonic()
        fleet.gateway.terminate()
        assert await fleet.gateway.wait() == 0
        took_s = time.monotonic() - asked_at
        connection.close()
        await fleet.aclose()
    assert took_s < CLOSE_WITHIN_S + 3


async def test_a_collector_that_is_not_there_is_complained_of_once(children: Children, redis: Redis) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_BSP_SCHEDULE_DELAY": "10"}
    fleet = Fleet(children, redis, {**env, "OTEL_EXPORTER_OTLP_TIMEOUT": "1", "LOG_FORMAT": "json"})
    await fleet.until_counted(free=0)
    await fleet.join(transport="none")
    await fleet.gateway.said("traces_not_sent")
    await fleet.join(transport="none")
    fleet.gateway.terminate()
    assert await fleet.gateway.wait() == 0
    await fleet.aclose()
    complaints = [line for line in fleet.gateway.output().splitlines() if "warning" in line or "error" in line]
    assert len(complaints) == 1
