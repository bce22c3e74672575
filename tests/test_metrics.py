"""What a fleet of real processes tells Prometheus of a run with a bit of everything, beside what its sessions say."""

import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.contract import Running
from tests.conftest import StartFleet
from tests.launching import SCRIPTED, records
from tests.processes import ROOT, Child, Fleet, free_port
from tests.queries import OF_TARGETS, grouped, queries, selected
from tests.scraping import Scraped, scrape
from tests.waiting import until

README = ROOT / "README.md"
COMPONENTS = ("gateway", "operator", "runner")
PHASES = ("accept_to_claim", "claim_to_process", "process_to_room")
SECRETS = ("token-of-a-room", "body-for-the-bot", "https://test.daily.co/a-room", "words-to-say")


@dataclass
class Measured:
    """A fleet whose every process tells its metrics."""

    fleet: Fleet
    operators: list[Child]
    ports: list[str]
    record: Path

    async def scraped(self) -> Scraped:
        return await scrape(self.ports)


@pytest.fixture
async def measured(fleet_of: StartFleet, tmp_path: Path) -> AsyncIterator[Measured]:
    record, ports = tmp_path / "record", [str(free_port()) for _ in range(3)]
    env = {"BOT_RECORD": str(record), "OVERFLOW_GRACE": "0.1", "STOP_GRACE": "2"}
    async with fleet_of(bot=SCRIPTED, slots=2, runners=0, operator=False, **env) as fleet:
        gateway = str(fleet.http.base_url.port)
        operators = [fleet.start("operator", HEALTH_PORT=port) for port in ports[:2]]
        fleet.add_runner(HEALTH_PORT=ports[2])
        await fleet.until_free(2)
        yield Measured(fleet, operators, [gateway, *ports], record)


def seconds(timeline: list[dict[str, Any]]) -> dict[str, float]:
    """How long the phases of all attempts in a timeline took."""
    took = dict.fromkeys(("whole", *PHASES), 0.0)
    way = [event for event in timeline if event["type"] in {"queued", "running"}]
    for queued, running in zip(way[::2], way[1::2], strict=True):
        whole = (at(running) - at(queued)).total_seconds()
        took["whole"] += whole
        took["accept_to_claim"] += whole - min(running["claimed_ago_s"], whole)
        took["claim_to_process"] += running["process_s"]
    took["process_to_room"] = took["whole"] - took["accept_to_claim"] - took["claim_to_process"]
    return took


def at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])


@asynccontextmanager
async def listening(fleet: Fleet) -> AsyncIterator[None]:
    """A client that follows the events of all sessions."""
    async with httpx.AsyncClient(base_url=fleet.http.base_url) as http, http.stream("GET", "/events") as answer:
        assert answer.status_code == 200
        yield


async def test_what_is_told_of_a_run_agrees_with_the_timelines_of_its_sessions(measured: Measured) -> None:
    fleet = measured.fleet
    room, token, body, words = SECRETS[2], SECRETS[0], SECRETS[1], SECRETS[3]
    stay: dict[str, Any] = {"transport": "none", "body": {"do": "stay", "secret": body}}
    crashed = (await fleet.join(wait_s=20, room_url=room, token=token, **stay))["session_id"]
    os.kill(records(measured.record)[0].pid, signal.SIGKILL)
    await fleet.event(crashed, Running, attempt=2)
    assert (await fleet.join(room_url=room, **stay))["reused"]
    failed = (await fleet.join(wait_s=20, transport="none", body={"do": "raise"}))["session_id"]
    told = {"session_id": crashed, "type": "say", "text": words, "wait": 10}
    answer = await fleet.http.post("/admin", json=told)
    assert answer.json()["outcome"] == "unhandled", answer.text
    kept = (await fleet.join(wait_s=20, **stay))["session_id"]
    cold = (await fleet.join(wait_s=50, **stay))["session_id"]
    assert (await fleet.http.post("/join", json={"transport": "daily"})).status_code == 400

    async def counted() -> Scraped | None:
        found = await measured.scraped()
        all_in_room = found.total("pipefleet_launch_phase_seconds_count", phase="process_to_room") == 4
        now_and_then = [
            *(found.total("pipefleet_event_loop_lag_seconds_count", component=component) for component in COMPONENTS),
            found.total("pipefleet_sweeps_total", outcome="done", component="operator"),
        ]
        complete = all_in_room and found.total("pipefleet_commands_total") == 1 and all(now_and_then)
        return found if complete else None

    async with listening(fleet):
        await fleet.until_counted(running=3)
        found: Scraped = await until(counted)
    timelines = [(await fleet.session(one))["timeline"] for one in (crashed, kept, cold)]

    whole = sum(seconds(timeline)["whole"] for timeline in timelines)
    assert found.total("pipefleet_launch_phase_seconds_sum") == pytest.approx(whole, abs=1e-6)
    for phase in PHASES:
        took = sum(seconds(timeline)[phase] for timeline in timelines)
        assert found.total("pipefleet_launch_phase_seconds_sum", phase=phase) == pytest.approx(took, abs=1e-6)
        in_cold = found.total("pipefleet_launch_phase_seconds_sum", phase=phase, start="cold")
        assert in_cold == pytest.approx(seconds(timelines[2])[phase], abs=1e-6)
        assert found.total("pipefleet_launch_phase_seconds_count", phase=phase, start="cold", transport="none") == 1
    expected = [
        ("pipefleet_joins_total", {"outcome": "queued"}, 4),
        ("pipefleet_joins_total", {"outcome": "reused"}, 1),
        ("pipefleet_http_requests_total", {"route": "join", "status": "202"}, 4),
        ("pipefleet_http_requests_total", {"route": "join", "status": "400"}, 1),
        ("pipefleet_attempts_total", {"start": "warm"}, 4),
        ("pipefleet_attempts_total", {"start": "cold"}, 1),
        ("pipefleet_attempts_failed_total", {"reason": "bot_died"}, 1),
        ("pipefleet_sessions_over_total", {"status": "failed", "reason": "bot_error"}, 1),
        ("pipefleet_sessions_over_total", {}, 1),
        ("pipefleet_commands_total", {"kind": "say", "outcome": "unhandled"}, 1),
        ("pipefleet_cold_starts_total", {"launcher": "process", "outcome": "created"}, 1),
        ("pipefleet_sse_clients", {}, 1),
        ("pipefleet_leases_lost_total", {}, 0),
        ("pipefleet_redis_errors_total", {}, 0),
    ]
    assert [(name, labels, found.total(name, **labels)) for name, labels, _ in expected] == expected
    fleet_at_once = [
        ("pipefleet_slots", {"start": "warm", "state": "busy"}, 2),
        ("pipefleet_slots", {"start": "warm", "state": "free"}, 0),
        ("pipefleet_slots", {"start": "cold", "state": "busy"}, 1),
        ("pipefleet_runners", {"start": "warm", "state": "ready"}, 1),
        ("pipefleet_bots_in_room", {}, 3),
        ("pipefleet_dead_letters", {}, 1),
        ("pipefleet_queue_depth", {}, 0),
        ("pipefleet_queue_oldest_age_seconds", {}, 0),
    ]
    # Each operator says the same of the fleet as a whole.
    told_twice = [(name, labels, found.total(name, **labels) / 2) for name, labels, _ in fleet_at_once]
    assert told_twice == fleet_at_once
    for component in COMPONENTS:
        assert found.total("pipefleet_redis_round_trip_seconds_count", component=component) > 10
        assert 0 < found.total("pipefleet_redis_round_trip_seconds_sum", component=component) < 60
    everything = str(found.samples)
    assert not [secret for secret in (*SECRETS, crashed, failed, kept, cold) if secret in everything]
    for one in (crashed, kept, cold):
        await fleet.http.delete(f"/sessions/{one}")
    await fleet.until_counted(running=0, busy=0)


def written() -> dict[str, tuple[set[str], set[str]]]:
    """The metrics of the README with their labels, and who tells them."""
    row = re.compile(r"^\| `(pipefleet_\w+)` \| (.*?) ?\| (.*?) \| ", re.MULTILINE)
    rows = row.findall(README.read_text())
    return {name: (set(re.findall(r"`(\w+)`", labels)), set(told_by.split(", "))) for name, labels, told_by in rows}


def exported(found: dict[str, Scraped]) -> dict[str, tuple[set[str], set[str]]]:
    """The same of what services have told."""
    rows: dict[str, tuple[set[str], set[str]]] = {}
    for service, one in found.items():
        labels = one.labels()
        for name, kind in one.types.items():
            _, by = rows.setdefault(name, (labels.get(f"{name}_count" if kind == "histogram" else name, set()), set()))
            by.add(service)
    return rows


async def test_readme_dashboard_and_alerts_name_what_the_services_export(fleet_of: StartFleet, tmp_path: Path) -> None:
    ports = {"operator": str(free_port()), "runner": str(free_port())}
    env = {"BOT_RECORD": str(tmp_path / "record"), "LAUNCHER": "none"}
    async with fleet_of(bot=SCRIPTED, slots=1, runners=0, operator=False, **env) as fleet:
        for service, port in ports.items():
            process = fleet.start(service, HEALTH_PORT=port)
            await process.said("no_cold_capacity" if service == "operator" else "zygote_ready")
        ports["gateway"] = str(fleet.http.base_url.port)
        await fleet.http.get("/healthz")
        found = {service: await scrape([port]) for service, port in ports.items()}

    assert written() == exported(found)
    everything = sum(found.values(), Scraped((), {}))
    assert [complaint for where in queries() for complaint in complaints(where, everything)] == []


def complaints(where: str, exported: Scraped) -> list[str]:
    """What a query asks for and nobody exports."""
    query = queries()[where]
    asked, labels = selected(query), exported.labels()
    found = [f"{where}: nobody exports {one.name}" for one in asked if one.name not in labels]
    known = OF_TARGETS.union(*(labels.get(one.name, set()) for one in asked))
    found += [f"{where}: there is no {label}" for label in grouped(query) - known]
    for one in asked:
        for label, values in one.labels.items():
            told = {sample.labels.get(label, "") for sample in exported.named(one.name)}
            told |= {str(status.value) for status in HTTPStatus} if label == "status" else set()
            found += [f"{where}: never {one.name}, {label}={value}" for value in values if value not in told]
    return found
