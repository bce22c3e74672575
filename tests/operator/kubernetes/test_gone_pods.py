"""Sessions of a Pod that is gone begin anew: at once where the API saw its end, otherwise when their lease ends."""

import asyncio
import os
import signal
import time

import pytest
from structlog.testing import capture_logs

from services.operator.kubernetes.gone_pods import GonePods
from shared.contract import LAUNCH, Launch, Queued, Reason, Running
from shared.launches import Launches
from shared.process.process_name import began_at, host_of, process_name
from shared.redis.connection import Redis
from shared.sweep import Gone, Sweep
from tests.fakes.kubernetes_api.resources import PODS
from tests.launching import claimed
from tests.leases import lease_of
from tests.operator.kubernetes.ground import Ground
from tests.processes import session_event
from tests.waiting import until

LEASE_S = 60
WHY = {
    "oom": "OOMKilled: container runner exited with code 137",
    "evicted": "Evicted: The node was low",
    "killed": "Error: container runner exited with code 137",
}


async def running(ground: Ground, do: str = "stay") -> tuple[Launch, str]:
    """A session in a cold Pod, and the Pod's name."""
    operator = ground.operator(LEASE=str(LEASE_S))
    await operator.said("operator_started")
    launch = await ground.offer(do)
    await session_event(ground.redis, launch.session_id, Running)
    [pod] = ground.cluster.pods(phase="Running")
    return launch, pod["metadata"]["name"]


@pytest.mark.parametrize("end", [pytest.param("oom", marks=pytest.mark.slow), "evicted", "killed"])
async def test_a_session_in_a_pod_that_is_killed_begins_anew_within_seconds(ground: Ground, end: str) -> None:
    launch, pod = await running(ground, "block once")
    match end:
        case "oom":
            ground.cluster.oom_kill(pod)
        case "evicted":
            ground.cluster.evict(pod, "The node was low on resource: memory.")
        case "killed":
            os.kill(ground.cluster.pid(pod), signal.SIGKILL)
    killed_at = time.monotonic()
    again = await session_event(ground.redis, launch.session_id, Queued, attempt=2, within_s=LEASE_S / 4)
    assert again.reason is Reason.RUNNER_LOST
    assert WHY[end] in again.message
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
    lease = await lease_of(ground.redis, entry)
    assert lease
    assert host_of(lease.holder) == pod
    assert launch.session_id != other.session_id


@pytest.mark.slow
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
    await Sweep(any_redis, lease_s=LEASE_S, max_attempts=3).release({"pod-a": Gone("it was deleted")})
    assert await lease_of(any_redis, gone.entry) is None
    again = await session_event(any_redis, gone.launch.session_id, Queued, attempt=2)
    assert again.message == "its runner pod-a-1-abc123 is gone: it was deleted"
    assert await lease_of(any_redis, other.entry) is not None


async def test_a_release_that_failed_is_tried_again(redis: Redis) -> None:
    held = await claimed(redis, "pod-a-1-abc123")
    await redis.rename(LAUNCH, "{bot}:aside")
    await redis.set(LAUNCH, "not a stream")
    gone = GonePods(Sweep(redis, lease_s=LEASE_S, max_attempts=3))
    with capture_logs() as logs:
        releasing = asyncio.create_task(gone.run())
        gone.note({"metadata": {"name": "pod-a"}, "status": {"phase": "Failed"}}, False)
        await until(lambda: [line["event"] for line in logs] == ["leases_not_freed"])
    await redis.rename("{bot}:aside", LAUNCH)
    await session_event(redis, held.launch.session_id, Queued, attempt=2, within_s=LEASE_S / 2)
    releasing.cancel()
    await asyncio.gather(releasing, return_exceptions=True)


async def test_a_lease_that_is_another_runners_by_now_is_not_released(any_redis: Redis) -> None:
    """It was handed back, and claimed again, between the look at the lease table and the release."""
    held = await claimed(any_redis, "pod-a-1-abc123")
    await any_redis.xclaim("{bot}:launch", "runners", "pod-b-1-abc123", 0, [held.entry])
    await Sweep(any_redis, lease_s=LEASE_S, max_attempts=3).release({"pod-a": Gone("it was deleted")})
    assert await lease_of(any_redis, held.entry) is not None


BEGAN = 0x6A000000
"""The second in the names below."""


@pytest.mark.parametrize(
    ("gone", "process", "certainly"),
    [
        pytest.param(Gone("deleted"), "pod-a-1-abc123", True, id="of a Pod that is gone everything is"),
        pytest.param(Gone("ended", BEGAN + 1), f"pod-a-1-{BEGAN:08x}abc123", True, id="what began before the end"),
        pytest.param(Gone("ended", BEGAN), f"pod-a-1-{BEGAN:08x}abc123", False, id="not what began in that second"),
        pytest.param(Gone("ended", BEGAN - 60), f"pod-a-1-{BEGAN:08x}abc123", False, id="nor what began after it"),
        pytest.param(Gone("ended", BEGAN), "pod-a-1-abc123", False, id="nor what does not say when it began"),
    ],
)
def test_which_processes_of_a_host_are_gone_for_certain(gone: Gone, process: str, certainly: bool) -> None:
    assert gone.includes(process) is certainly


async def test_a_runner_that_began_after_its_containers_end_keeps_its_leases(any_redis: Redis) -> None:
    old = await claimed(any_redis, f"pod-a-1-{BEGAN:08x}aaaaaa")
    new = await claimed(any_redis, f"pod-a-1-{BEGAN + 9:08x}bbbbbb")
    elsewhere = await claimed(any_redis, f"pod-b-1-{BEGAN:08x}cccccc")
    await Sweep(any_redis, lease_s=LEASE_S, max_attempts=3).release({"pod-a": Gone("it ended", BEGAN + 5)})
    leases = [await lease_of(any_redis, claim.entry) for claim in (old, new, elsewhere)]
    assert [lease is not None for lease in leases] == [False, True, True]


def test_a_process_name_tells_its_host_and_when_it_began() -> None:
    assert time.time() - 2 < (began_at(process_name()) or 0) <= time.time()
    assert began_at("runner-7d4b9-x2x4z-1-0a1b2c") is None
    assert host_of("runner-7d4b9-x2x4z-1-0a1b2c") == "runner-7d4b9-x2x4z"
    assert process_name() != process_name()
    assert process_name().startswith(host_of(process_name()) + "-")
