from typing import Any

from shared.contract import Presence
from shared.presence import announce
from shared.redis.connection import Redis
from tests.gateway.conftest import Gateway
from tests.gateway.stand_in_runner import StandInRunner
from tests.presences import a_presence


def a_runner(name: str, **more: Any) -> Presence:
    return a_presence(name, pid=7, **more)


async def test_an_empty_fleet_is_all_zeros(gateway: Gateway) -> None:
    assert (await gateway.http.get("/fleet")).json() == {
        "slots": 0, "busy": 0, "free": 0, "queued": 0, "running": 0, "runners": [],
    }  # fmt: skip


async def test_the_fleet_is_the_sum_of_what_its_runners_last_said(
    gateway: Gateway, redis: Redis, runner: StandInRunner
) -> None:
    await announce(redis, a_runner("a", slots=4, busy=0, free=4, running=0))
    await announce(redis, a_runner("b", slots=2, busy=1, free=0, running=0, state="draining"))
    await announce(redis, a_runner("gone", slots=9, busy=9, free=0, running=9, state="gone"))
    await announce(redis, a_runner("a", slots=4, busy=3, free=1, running=2))
    for _ in range(3):
        await gateway.join()
    await runner.running()
    fleet = (await gateway.http.get("/fleet")).json()
    runners = fleet.pop("runners")
    assert fleet == {"slots": 6, "busy": 4, "free": 1, "queued": 2, "running": 2}
    assert [(one["runner"], one["state"], one["slots"], one["busy"]) for one in runners] == [
        ("a", "ready", 4, 3),
        ("b", "draining", 2, 1),
    ]
    assert {"runner", "slots", "busy", "pid", "host"} <= set(runners[0])
