"""Sessions of a Pod that is gone begin anew: at once where the API saw its end, otherwise when their lease ends."""

import time

import pytest

from shared.contract import Launch, Queued, Reason, Running
from shared.launches import Launches
from shared.process_name import host_of, process_name
from shared.redis_connection import Redis
from shared.sweep import Sweep
from tests.fakes.kubernetes_api.resources import PODS
from tests.operator.kubernetes_ground import Ground
from tests.processes import session_event
from tests.shared.test_sweep import claimed

LEASE_S = 60


async def running(ground: Ground) -> tuple[Launch, str]:
    """A session in a cold Pod, and the Pod's name."""
    operator = ground.operator(LEASE=str(LEASE_S))
    await operator.said("operator_started")
    launch = await ground.offer()
    await session_event(ground.redis, launch.session_id, Running)
    [pod] = ground.cluster.pods(phase="Running")
    return launch, pod["metadata"]["name"]


@pytest.mark.parametrize("end", ["oom", "evicted"])
async def test_a_session_in_a_pod_that_is_killed_begins_anew_within_seconds(ground: Ground, end: str) -> None:
    launch, pod = await running(ground)
    if end == "oom":
        ground.cluster.oom_kill(pod)
    else:
        ground.cluster.evict(pod, "The node was low on resource: memory.")
    killed_at = time.monotonic()
    again = await session_event(ground.redis, launch.session_id, Queued, attempt=2, within_s=5)
    assert again.reason is Reason.RUNNER_LOST
    assert ("OOMKilled" if end == "oom" else "Evicted: The node was low") in again.message
    await session_event(ground.redis, launch.session_id, Running, attempt=2)
    assert time.monotonic() - killed_at < LEASE_S / 2
    assert [line.attempt for line in ground.entered()] == [1, 2]


async def test_a_session_whose_node_is_lost_keeps_its_lease_for_its_bot_may_be_in_the_room(ground: Ground) -> None:
    launch, pod = await running(ground)
    entry = (await Launches(ground.redis).live(1))[0][0]
    ground.cluster.lose_node(pod, process_lives=True)
    ground.cluster.collect(pod)
    await ground.cluster.until(lambda: pod not in [one["metadata"]["name"] for one in ground.cluster.pods()])
    other, _ = await running(ground)  # by then the operators have seen it
    lease = await Launches(ground.redis).lease(entry)
    assert lease
    assert host_of(lease.holder) == pod
    assert launch.session_id != other.session_id


async def test_a_cold_pod_that_is_deleted_finishes_its_call(ground: Ground) -> None:
    launch, pod = await running(ground)
    ground.cluster.delete(PODS, pod)
    await ground.cluster.until(lambda: "deletionTimestamp" in ground.cluster.pod(pod)["metadata"])
    await ground.leave(launch)
    await ground.cluster.until(lambda: not ground.cluster.pods())
    assert [line.attempt for line in ground.entered()] == [1]


async def test_only_the_leases_of_that_host_are_released_whatever_their_age(any_redis: Redis) -> None:
    gone = await claimed(any_redis, "pod-a-1-abc123")
    other = await claimed(any_redis, "pod-a-b-1-abc123")
    await Sweep(any_redis, lease_s=LEASE_S, max_attempts=3).release({"pod-a": "it was deleted"})
    assert await Launches(any_redis).lease(gone.entry) is None
    again = await session_event(any_redis, gone.launch.session_id, Queued, attempt=2)
    assert again.message == "its runner pod-a-1-abc123 is gone: it was deleted"
    assert await Launches(any_redis).lease(other.entry) is not None


async def test_a_lease_that_is_another_runners_by_now_is_not_released(any_redis: Redis) -> None:
    """It was handed back, and claimed again, between the look at the lease table and the release."""
    held = await claimed(any_redis, "pod-a-1-abc123")
    await any_redis.xclaim("{bot}:launch", "runners", "pod-b-1-abc123", 0, [held.entry])
    await Sweep(any_redis, lease_s=LEASE_S, max_attempts=3).release({"pod-a": "it was deleted"})
    assert await Launches(any_redis).lease(held.entry) is not None


def test_a_process_name_tells_its_host() -> None:
    assert host_of("runner-7d4b9-x2x4z-1-0a1b2c") == "runner-7d4b9-x2x4z"
    assert process_name() != process_name()
    assert process_name().startswith(host_of(process_name()) + "-")
