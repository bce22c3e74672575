"""Pods as the kubelet runs them: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/."""

import os
import signal
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.kubernetes_api.cluster import Cluster
from tests.fakes.kubernetes_api.resources import PODS
from tests.fakes.kubernetes_api.statuses import Object
from tests.fakes.manifests import IMAGE, STAY, STUBBORN, container, deployment, job
from tests.processes import until_gone
from tests.waiting import until

NAMESPACE = "pipefleet"
HEALTH = (
    "import http.server, os, socketserver\n"
    "class Answer(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self): self.send_response(200 if not os.path.exists('SICK') else 503); self.end_headers()\n"
    "socketserver.TCPServer(('127.0.0.1', int(os.environ['HEALTH_PORT'])), Answer).serve_forever()\n"
)


def state(pod: Object) -> Any:
    """Of the container: its kind and what is said about it."""
    statuses = pod["status"].get("containerStatuses", [{"state": {}}])
    return next(iter(statuses[0]["state"].items()), ("", {}))


def holds(pod: Object, type_: str) -> Any:
    return next((c for c in pod["status"].get("conditions", []) if c["type"] == type_), {"status": ""})


async def waiting_for(cluster: Cluster, reason: str) -> Object:
    """The Pod whose container waits, or was ended, for this reason."""
    found: Object = await cluster.until(
        lambda: next((pod for pod in cluster.pods() if state(pod)[1].get("reason") == reason), None)
    )
    return found


async def running(cluster: Cluster, command: list[str] = STAY, **pod: Any) -> Object:
    """The Pod of a Job, while it runs."""
    cluster.run_image(IMAGE, command)
    cluster.apply(job(pod=pod))
    [found] = await cluster.until(lambda: cluster.pods("Running"))
    return dict(found)


async def test_a_container_has_the_variables_of_its_spec(kubernetes_api: Cluster) -> None:
    """https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/."""
    kubernetes_api.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"LEASE": "5", "HOST": "h"},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys"},
            "data": {"key": b64encode(b"secret").decode()},
        },
    )
    env = [
        {"name": "LEASE", "value": "7"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "no", "optional": True}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "ADDRESS", "value": "$(HOST):$(KEY):$(UNKNOWN)"},
    ]
    names = "('LEASE', 'KEY', 'NONE', 'POD', 'ADDRESS')"
    kubernetes_api.run_image(IMAGE, [sys.executable, "-c", f"import os; print([os.environ.get(n) for n in {names}])"])
    spec = container(env=env, envFrom=[{"configMapRef": {"name": "settings"}}])
    kubernetes_api.apply(job(pod={"containers": [spec]}))
    [pod] = await kubernetes_api.until(lambda: kubernetes_api.pods("Succeeded"))
    name = pod["metadata"]["name"]
    assert kubernetes_api.output(name).strip() == str(["7", "secret", None, name, "h:secret:$(UNKNOWN)"])


async def test_a_pod_becomes_ready_by_its_probe_at_a_port_of_its_own(kubernetes_api: Cluster) -> None:
    probe = {"httpGet": {"path": "/readyz", "port": 8080}}
    kubernetes_api.run_image(IMAGE, [sys.executable, "-c", HEALTH])
    env = [{"name": "HEALTH_PORT", "value": "8080"}]
    kubernetes_api.apply(deployment(replicas=2, readinessProbe=probe, startupProbe=probe, env=env))

    def ready() -> bool:
        return [holds(pod, "Ready")["status"] for pod in kubernetes_api.pods()] == ["True", "True"]

    await kubernetes_api.until(ready)
    assert all(pod["status"]["containerStatuses"][0]["started"] for pod in kubernetes_api.pods())


async def test_a_pod_that_fails_its_liveness_probe_is_started_again(kubernetes_api: Cluster) -> None:
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    kubernetes_api.run_image(IMAGE, STAY)
    kubernetes_api.apply(deployment(livenessProbe=probe))
    await kubernetes_api.until(lambda: kubernetes_api.events("Unhealthy"))
    await kubernetes_api.until(
        lambda: any(pod["status"]["containerStatuses"][0]["restartCount"] for pod in kubernetes_api.pods())
    )


async def test_a_deleted_pod_has_its_grace_and_then_is_killed(kubernetes_api: Cluster, core: Any) -> None:
    pod = await running(kubernetes_api, STUBBORN, terminationGracePeriodSeconds=60)
    name = pod["metadata"]["name"]
    pid = kubernetes_api.pid(name)
    marked = await core.delete_namespaced_pod(name, NAMESPACE)
    assert marked.metadata.deletion_grace_period_seconds == 60
    await kubernetes_api.until(lambda: kubernetes_api.events("Killing"))
    os.kill(pid, 0)
    shorter = await core.delete_namespaced_pod(name, NAMESPACE, grace_period_seconds=1)
    assert shorter.metadata.deletion_grace_period_seconds == 1
    await kubernetes_api.until(lambda: not kubernetes_api.pods())
    await until_gone(pid)
    last = [
        change.after for change in kubernetes_api.store.since(kubernetes_api.store.compacted) if change.resource is PODS
    ][-1]
    assert (last["status"]["phase"], state(last)[1]["exitCode"]) == ("Failed", 137)


async def test_a_pod_that_is_deleted_by_force_is_gone_before_its_process(kubernetes_api: Cluster, core: Any) -> None:
    """…/pod-lifecycle/#pod-termination-forced: the API does not wait for the kubelet."""
    pod = await running(kubernetes_api, STUBBORN, terminationGracePeriodSeconds=1)
    pid = kubernetes_api.pid(pod["metadata"]["name"])
    await core.delete_namespaced_pod(pod["metadata"]["name"], NAMESPACE, grace_period_seconds=0)
    await kubernetes_api.until(lambda: not kubernetes_api.pods())
    os.kill(pid, 0)
    await until_gone(pid)


async def test_an_image_that_is_not_there_is_waited_for(kubernetes_api: Cluster) -> None:
    kubernetes_api.apply(job())
    pod = await waiting_for(kubernetes_api, "ErrImagePull")
    assert pod["status"]["phase"] == "Pending"
    pod = await waiting_for(kubernetes_api, "ImagePullBackOff")
    assert f'Back-off pulling image "{IMAGE}"' in state(pod)[1]["message"]
    kubernetes_api.run_image(IMAGE, ["true"])
    await kubernetes_api.until(lambda: kubernetes_api.pods("Succeeded"))


async def test_a_secret_that_is_not_there_is_waited_for(kubernetes_api: Cluster) -> None:
    kubernetes_api.run_image(IMAGE, ["true"])
    env = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}]
    kubernetes_api.apply(job(pod={"containers": [container(env=env)]}))
    pod = await waiting_for(kubernetes_api, "CreateContainerConfigError")
    assert state(pod)[1]["message"] == 'secret "keys" not found'
    kubernetes_api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": {"key": ""}})
    await kubernetes_api.until(lambda: kubernetes_api.pods("Succeeded"))


async def test_a_pod_without_a_node_waits_until_there_is_one(kubernetes_api: Cluster) -> None:
    order = kubernetes_api.trouble("unschedulable", message="0/1 nodes are available: 1 Insufficient cpu.")
    kubernetes_api.run_image(IMAGE, ["true"])
    kubernetes_api.apply(job())
    [pod] = await kubernetes_api.until(
        lambda: [pod for pod in kubernetes_api.pods() if holds(pod, "PodScheduled").get("reason") == "Unschedulable"]
    )
    assert pod["status"]["phase"] == "Pending"
    assert holds(pod, "PodScheduled")["message"] == "0/1 nodes are available: 1 Insufficient cpu."
    [event] = kubernetes_api.events("FailedScheduling")
    assert event["firstTimestamp"] is None
    order.release()
    await kubernetes_api.until(lambda: kubernetes_api.pods("Succeeded"))


async def test_the_container_of_a_deployment_that_crashes_is_started_again_after_a_back_off(
    kubernetes_api: Cluster,
) -> None:
    kubernetes_api.run_image(IMAGE, STAY)
    kubernetes_api.trouble("crash", exit_code=7)
    kubernetes_api.apply(deployment())
    pod = await waiting_for(kubernetes_api, "CrashLoopBackOff")
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 7
    await kubernetes_api.until(
        lambda: [pod for pod in kubernetes_api.pods() if holds(pod, "Ready")["status"] == "True"]
    )


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_process_that_is_killed_for_its_memory_says_so(kubernetes_api: Cluster, ordered: bool) -> None:
    if ordered:
        kubernetes_api.trouble("oom")
        kubernetes_api.run_image(IMAGE, STAY)
        kubernetes_api.apply(job())
    else:
        kubernetes_api.oom_kill((await running(kubernetes_api))["metadata"]["name"])
    [pod] = await kubernetes_api.until(lambda: kubernetes_api.pods("Failed"))
    assert (state(pod)[1]["reason"], state(pod)[1]["exitCode"]) == ("OOMKilled", 137)


async def test_an_evicted_pod_stays_as_failed(kubernetes_api: Cluster) -> None:
    pod = await running(kubernetes_api)
    pid = kubernetes_api.pid(pod["metadata"]["name"])
    kubernetes_api.evict(pod["metadata"]["name"])
    [pod] = kubernetes_api.pods("Failed")
    assert pod["status"]["reason"] == "Evicted"
    assert holds(pod, "DisruptionTarget")["reason"] == "TerminationByKubelet"
    await until_gone(pid)


@pytest.mark.parametrize("process_lives", [True, False])
async def test_the_pod_of_a_lost_node_is_marked_and_stays_until_the_node_is_given_up(
    kubernetes_api: Cluster, process_lives: bool
) -> None:
    pod = await running(kubernetes_api)
    name = pod["metadata"]["name"]
    pid = kubernetes_api.pid(name)
    kubernetes_api.lose_node(name, process_lives=process_lives)
    if process_lives:
        os.kill(pid, 0)
    else:
        await until_gone(pid)
    pod = kubernetes_api.pod(name)
    assert "deletionTimestamp" in pod["metadata"]
    assert (holds(pod, "Ready")["status"], pod["status"]["reason"]) == ("False", "NodeLost")
    kubernetes_api.collect(name)
    await kubernetes_api.until(lambda: not kubernetes_api.pods())


async def test_when_the_first_process_of_a_container_dies_so_do_all_others(kubernetes_api: Cluster) -> None:
    """The kernel's doing: they share a PID namespace, in which it is number 1; pid_namespaces(7)."""
    program = (
        "import os, time; print(os.spawnlp(os.P_NOWAIT, 'setsid', 'setsid', 'sleep', '60'), flush=True); time.sleep(60)"
    )
    pod = await running(kubernetes_api, [sys.executable, "-c", program])
    name = pod["metadata"]["name"]
    first = kubernetes_api.pid(name)
    await until(lambda: kubernetes_api.output(name))
    [below] = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    os.kill(first, signal.SIGKILL)
    await until_gone(int(below))


async def test_a_slow_start_is_seen_as_such(kubernetes_api: Cluster) -> None:
    kubernetes_api.trouble("slow", seconds=0.2)
    kubernetes_api.run_image(IMAGE, ["true"])
    kubernetes_api.apply(job())
    await waiting_for(kubernetes_api, "ContainerCreating")
    await kubernetes_api.until(lambda: kubernetes_api.pods("Succeeded"))
