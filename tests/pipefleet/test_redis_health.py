"""What follows from what a server says of itself."""

from typing import Any

import pytest

from pipefleet import fleet_health, redis_health
from shared.contract import Presence
from tests.presences import a_presence

INFO: dict[str, Any] = {
    "redis_version": "7.2.4",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "maxmemory": 0,
    "maxmemory_policy": "noeviction",
    "used_memory": 10 << 20,
    "total_system_memory": 1 << 30,
    "role": "master",
    "connected_slaves": 0,
}
VALKEY = {"redis_version": "7.2.4", "server_name": "valkey"}
"""What it says for clients that know Redis alone."""
SETTINGS = {"appendfsync": "always", "min-replicas-to-write": "0"}


def test_nothing_is_wrong_with_a_server_that_keeps_all() -> None:
    assert {one.status for one in redis_health.judge(INFO, SETTINGS)} == {"ok"}


@pytest.mark.parametrize(
    ("changes", "settings", "check", "status"),
    [
        ({"redis_version": "6.2.14"}, SETTINGS, "redis version", "fail"),
        ({"redis_version": "7.0.0"}, SETTINGS, "redis version", "ok"),
        ({"redis_version": "10.0.1"}, SETTINGS, "redis version", "ok"),
        (
            {**VALKEY, "valkey_version": "7.2.5"},
            SETTINGS,
            "redis version",
            "fail",
        ),
        (
            {**VALKEY, "valkey_version": "8.0.0"},
            SETTINGS,
            "redis version",
            "ok",
        ),
        ({"aof_enabled": 0}, SETTINGS, "redis persistence", "fail"),
        ({"aof_last_write_status": "err"}, SETTINGS, "redis persistence", "fail"),
        ({}, {"appendfsync": "everysec"}, "redis persistence", "warn"),
        ({}, {}, "redis persistence", "ok"),
        ({"maxmemory_policy": "allkeys-lru"}, SETTINGS, "redis eviction", "warn"),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": 1 << 30}, SETTINGS, "redis eviction", "fail"),
        ({"maxmemory": 12 << 20}, SETTINGS, "redis memory", "warn"),
        ({"maxmemory": 10 << 20}, SETTINGS, "redis memory", "fail"),
        ({"role": "slave"}, SETTINGS, "redis replicas", "fail"),
        ({"connected_slaves": 1}, SETTINGS, "redis replicas", "warn"),
        ({"connected_slaves": 1}, {"min-replicas-to-write": "1"}, "redis replicas", "ok"),
    ],
)
def test_a_server_is_judged_by_what_it_says(
    changes: dict[str, Any], settings: dict[str, str], check: str, status: str
) -> None:
    found = redis_health.judge({**INFO, **changes}, settings)
    assert {one.check for one in found if one.status != "ok"} == ({check} if status != "ok" else set())
    (finding,) = [one for one in found if one.check == check]
    assert finding.status == status
    assert bool(finding.remedy) == (status != "ok")


@pytest.mark.parametrize(
    ("ahead_s", "status", "found"),
    [
        (0.2, "ok", "200 ms from that of Redis"),
        (-3, "warn", "3.0 s behind Redis"),
        (60, "fail", "60.0 s ahead of Redis"),
    ],
)
def test_a_clock_may_be_off_by_a_second(ahead_s: float, status: str, found: str) -> None:
    finding = redis_health.clock(ahead_s)
    assert (finding.status, finding.found) == (status, found)


@pytest.mark.parametrize(
    ("runners", "waiting", "found"),
    [
        ([a_presence("a")], 0, {"runners": "ok"}),
        ([], 0, {"runners": "fail"}),
        ([a_presence("a", free=0)], 3, {"runners": "warn"}),
        ([a_presence("a"), a_presence("b", version="2")], 0, {"runners": "ok", "versions": "warn"}),
        ([a_presence("a"), a_presence("b", error="no module")], 0, {"runners": "ok", "bots of runners": "fail"}),
    ],
)
def test_a_fleet_is_judged_by_its_runners(runners: list[Presence], waiting: int, found: dict[str, str]) -> None:
    assert {one.check: one.status for one in fleet_health.runners(runners, waiting)} == found
