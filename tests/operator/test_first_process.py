"""A service as the first process of a container: nobody else ends it, mourns its dead, or outlives it."""

import asyncio
import os
import signal
import sys
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from shared.contract import Ended, Queued, Reason, Running
from tests.deployment.manifests import Manifests, Object, copy_of_k8s, rendered
from tests.fakes.kubernetes_api.containers import Container
from tests.fakes.kubernetes_api.resources import DEPLOYMENTS, PODS
from tests.operator.kubernetes.ground import Ground
from tests.processes import STOP_S, Children, children_called, session_event
from tests.waiting import until

BLOCKS = """
import pathlib, time
pathlib.Path(__file__).with_suffix(".begun").touch()
time.sleep(600)
"""


@cache
def fleet() -> Manifests:
    with TemporaryDirectory() as folder:
        return rendered(copy_of_k8s(Path(folder)) / "k8s")


async def a_warm_pod(ground: Ground, redis_url: str, replicas: int = 1, **env: str) -> str:
    """The name of a Pod of the Deployment that `k8s/` has, with its probes and variables, once it is ready."""
    deployment: Object = fleet().one("Deployment", "runner")
    ground.cluster.delete(DEPLOYMENTS, "runner")
    ground.cluster.apply(fleet().one("ConfigMap", "settings"), fleet().one("Secret", "secrets"), deployment)
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    ground.cluster.run_image(image, [sys.executable, "-m", "services.runner"], REDIS_URL=redis_url, **env)
    ground.cluster.scale("runner", replicas)

    def ready() -> list[str]:
        pods = [pod for pod in ground.cluster.pods(phase="Running") if pod["status"]["containerStatuses"][0]["ready"]]
        return [pod["metadata"]["name"] for pod in pods]

    names: list[str] = await ground.cluster.until(ready)
    return names[0]


@pytest.mark.parametrize("service", ["gateway", "operator", "runner"])
async def test_a_service_that_is_still_importing_ends_when_it_is_told_to(
    children: Children, tmp_path: Path, service: str
) -> None:
    """Otherwise it would never hear of it, take calls, and be killed with them at the end of the Pod's grace."""
    (tmp_path / "msgspec.py").write_text(BLOCKS)
    container = Container(
        children, service, [sys.executable, "-m", f"services.{service}"], {"PYTHONPATH": str(tmp_path)}
    )
    await container.begin()
    await until((tmp_path / "msgspec.begun").exists)
    container.ask_to_stop()
    async with asyncio.timeout(STOP_S):
        assert await container.wait() == 0


async def test_calls_of_a_runner_that_is_killed_begin_anew_in_seconds_though_its_pod_stays(
    ground: Ground, redis_url: str
) -> None:
    """One of its session processes is deaf; the other may be quick enough to hand its session back as it is killed."""
    pod = await a_warm_pod(ground, redis_url, LEASE="60")
    operator = ground.operator(LEASE="60")
    await operator.said("operator_started")
    launches = [await ground.offer("block once"), await ground.offer()]
    for launch in launches:
        await session_event(ground.redis, launch.session_id, Running)
    os.kill(ground.cluster.pid(pod), signal.SIGKILL)
    killed_at = time.monotonic()
    again = [await session_event(ground.redis, one.session_id, Queued, attempt=2, within_s=15) for one in launches]
    assert {event.reason for event in again} == {Reason.RUNNER_LOST}
    assert "is gone: Error: container runner exited with code 137" in again[0].message
    for launch in launches:
        await session_event(ground.redis, launch.session_id, Running, attempt=2)
    assert time.monotonic() - killed_at < 30, "half of the lease"
    status = ground.cluster.pod(pod)["status"]["containerStatuses"][0]
    assert status["restartCount"] == 1
    # What the new runner of the same Pod holds is not taken from it by what is known of the old one.
    ground.operator(LEASE="60")
    later = await ground.offer()
    await session_event(ground.redis, later.session_id, Running)
    assert sorted(line.attempt for line in ground.entered()) == [1, 1, 1, 2, 2]


async def test_a_warm_pod_that_is_deleted_finishes_its_call_and_leaves_no_process_behind(
    ground: Ground, redis_url: str
) -> None:
    pod = await a_warm_pod(ground, redis_url, LEASE="4")
    first = ground.cluster.pid(pod)
    abandoning = await ground.offer("start children")
    await session_event(ground.redis, abandoning.session_id, Ended)
    launch = await ground.offer()
    await session_event(ground.redis, launch.session_id, Running)
    ground.cluster.delete(PODS, pod)
    await until(lambda: not children_called("sleep", first))
    await ground.leave(launch)
    await ground.cluster.until(lambda: pod not in [one["metadata"]["name"] for one in ground.cluster.pods()])
    assert [line.attempt for line in ground.entered()] == [1, 1]
