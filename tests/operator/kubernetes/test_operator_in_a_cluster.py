"""The warm pool's size, and what an operator may do, against a cluster that refuses what a real one refuses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.contract import ColdStart, Ended, Reason, Running
from shared.launches import Launches, decode
from shared.presence import announce
from shared.redis.connection import Redis
from tests.fakes.kubernetes_api.access import rules_from
from tests.operator.kubernetes.ground import ACCOUNT, Ground, rbac, unfinished
from tests.presences import a_presence
from tests.processes import session_event
from tests.waiting import until

SIZED = {"WARM_MIN": "1", "WARM_MAX": "6", "WARM_BUFFER": "1,50%", "WARM_COOLDOWN": "2", "COLD_MAX": "0"}


class Presences:
    """What warm runners say of themselves; `busy` has a number for each."""

    def __init__(self) -> None:
        self.busy: list[int] = []
        self.draining = 0

    async def run(self, redis: Redis) -> None:
        while True:
            for number, busy in enumerate(self.busy):
                state: Any = "draining" if number < self.draining else "ready"
                name = f"runner-{number}"
                told = a_presence(f"{name}-1-0", host=name, state=state, slots=2, busy=busy, running=busy)
                await announce(redis, told)
            await asyncio.sleep(0.2)


@asynccontextmanager
async def presences(redis: Redis) -> AsyncIterator[Presences]:
    told = Presences()
    telling = asyncio.create_task(told.run(redis))
    try:
        yield told
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


def replicas(ground: Ground) -> int:
    return int(ground.cluster.deployment("runner")["spec"]["replicas"])


def scalings(ground: Ground) -> list[tuple[int, int]]:
    """Each size that was asked for, and the answer."""
    asked = [one for one in ground.cluster.requests if one.kind == "deployments/scale"]
    return [(one.body["spec"]["replicas"], one.status) for one in asked if one.status in {200, 409}]


async def withdraw_all(redis: Redis) -> None:
    """End all sessions that wait."""
    launches = Launches(redis)
    for entry, fields in await launches.live(100):
        launch = decode(fields)
        ended = Ended(session_id=launch.session_id, attempt=1, reason=Reason.LEFT)
        assert await launches.finish(entry, "", launch, ended) == "finished"


async def test_the_deployment_follows_what_is_busy_up_at_once_and_down_after_the_cooldown(ground: Ground) -> None:
    ground.cluster.trouble("unschedulable", pods=99)  # what runners say is played here
    async with presences(ground.redis) as told:
        for _ in range(2):
            ground.operator(**SIZED, RUNNER_SLOTS="2")
        await ground.cluster.until(lambda: replicas(ground) == 1)
        told.busy = [2, 2, 2]
        await ground.cluster.until(lambda: replicas(ground) == 5)
        told.busy, told.draining = [2, 2, 2, 0], 2
        await ground.cluster.until(lambda: replicas(ground) == 2)
    sizes = [size for size, status in scalings(ground) if status == 200]
    assert max(sizes) == 5, "never beyond what was needed"
    assert sizes == sorted(sizes[: sizes.index(5) + 1]) + sorted(sizes[sizes.index(5) + 1 :], reverse=True)


async def test_launches_that_no_runner_of_this_operator_could_take_raise_no_number(ground: Ground) -> None:
    for _ in range(9):
        await ground.offer(agent="support")
    ground.operator(**{**SIZED, "WARM_MIN": "2"})
    await ground.cluster.until(lambda: scalings(ground))
    assert scalings(ground) == [(2, 200)]


async def test_several_operators_never_exceed_the_largest_size_and_reach_none_when_nothing_is_needed(
    ground: Ground,
) -> None:
    to_none = {**SIZED, "WARM_MIN": "0", "WARM_BUFFER": "0", "WARM_MAX": "3", "RUNNER_SLOTS": "1"}
    ground.cluster.trouble("unschedulable", pods=99)
    operators = [ground.operator(**to_none) for _ in range(3)]
    for operator in operators:
        await operator.said("operator_started")
    for _ in range(9):
        await ground.offer()
    await ground.cluster.until(lambda: replicas(ground) == 3)
    await withdraw_all(ground.redis)
    await ground.cluster.until(lambda: replicas(ground) == 0)
    assert max(size for size, _ in scalings(ground)) == 3
    assert {operator.exit_code for operator in operators} == {None}


async def test_an_operator_uses_exactly_what_its_role_grants(ground: Ground) -> None:
    """All rules of the role are needed, and no more."""
    ground.cluster.trouble("slow", seconds=60)
    ground.operator(WARM_MAX="3", WARM_COOLDOWN="1")
    launch = await ground.offer("return")
    await ground.cluster.until(lambda: replicas(ground) > 0)
    await ground.cluster.until(ground.cluster.jobs)
    ground.warm_runner(1)
    await session_event(ground.redis, launch.session_id, Ended)
    await ground.cluster.until(lambda: not unfinished(ground.cluster))
    granted = {grant for rule in rules_from([*rbac()], ACCOUNT, "pipefleet") for grant in rule.granted()}
    assert ground.cluster.used == granted
    assert not [one.path for one in ground.cluster.requests if one.status == 403]


async def test_nothing_of_a_launch_is_in_any_object_of_the_cluster(ground: Ground) -> None:
    ground.operator()
    room = "https://example.daily.co/secret-room"
    launch = await ground.offer(room_url=room, token="secret-token")
    await session_event(ground.redis, launch.session_id, Running)
    everything = str(list(ground.cluster.store.everything())) + str([one.body for one in ground.cluster.requests])
    assert launch.session_id in everything
    assert not [secret for secret in (room, "secret-room", "secret-token", "'stay'") if secret in everything]
    await ground.leave(launch)


async def test_a_cold_call_goes_on_when_its_operator_stops_and_another_operator_makes_no_second_job(
    ground: Ground,
) -> None:
    ground.cluster.trouble("slow", seconds=2)
    first = ground.operator()
    launch = await ground.offer()
    await ground.cluster.until(ground.cluster.jobs)
    first.terminate()
    assert await first.wait() == 0
    ground.operator()
    await session_event(ground.redis, launch.session_id, Running)
    assert len(ground.created()) == 1
    await ground.leave(launch)


@pytest.mark.parametrize("early", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_an_operator_says_that_the_api_is_away_and_goes_on_afterwards(ground: Ground, early: bool) -> None:
    if early:
        await ground.cluster.stop_server()
    operator = ground.operator()
    await operator.said("operator_started")
    if not early:
        await until(lambda: ("watch", "pods") in {(one.verb, one.kind) for one in ground.cluster.requests})
        await ground.cluster.stop_server()
    launch = await ground.offer("return")
    event = await session_event(ground.redis, launch.session_id, ColdStart)
    assert (event.reason, event.error[:35]) == ("Unreachable", "the Kubernetes API did not answer: ")
    ground.cluster.compact()
    await ground.cluster.start_server()
    await session_event(ground.redis, launch.session_id, Ended)
    assert len(ground.created()) == 1


@pytest.mark.slow
async def test_what_an_operator_may_not_see_is_told_on_the_session(ground: Ground) -> None:
    role = next(one for one in rbac() if one["kind"] == "Role")
    ground.cluster.apply({**role, "rules": [rule for rule in role["rules"] if "jobs" not in rule["resources"]]})
    ground.operator()
    launch = await ground.offer("return")
    event = await session_event(ground.redis, launch.session_id, ColdStart)
    assert event.reason == "Forbidden"
    assert 'cannot list resource "jobs"' in event.error
    ground.cluster.apply(role)
    await session_event(ground.redis, launch.session_id, Ended)
