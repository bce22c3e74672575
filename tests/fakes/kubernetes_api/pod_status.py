"""A Pod's status as the kubelet and the scheduler write it: edits of a Pod, one per state.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/.
"""

from typing import Any

from tests.fakes.kubernetes_api.statuses import Object
from tests.fakes.kubernetes_api.store import stamp

NOT_READY = "ContainersNotReady"


def set_condition(pod: Object, type_: str, holds: bool, reason: str = "", message: str = "") -> None:
    """One condition; its time moves only when it turns."""
    conditions = pod["status"].setdefault("conditions", [])
    old = next((condition for condition in conditions if condition["type"] == type_), None)
    status = "True" if holds else "False"
    same = old is not None and old["status"] == status
    new = {
        "type": type_,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": old["lastTransitionTime"] if old and same else stamp(),
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
    }
    if old:
        conditions[conditions.index(old)] = new
    else:
        conditions.append(new)


def assign(pod: Object, node: str) -> None:
    """The scheduler found a node."""
    pod["spec"]["nodeName"] = node
    set_condition(pod, "PodScheduled", holds=True)


def create(pod: Object) -> None:
    """The kubelet has it, and nothing runs yet."""
    pod["status"] |= {"startTime": stamp(), "hostIP": "127.0.0.1", "podIP": "127.0.0.1"}
    set_condition(pod, "PodReadyToStartContainers", holds=True)
    set_condition(pod, "Initialized", holds=True)
    wait(pod, "ContainerCreating")


def wait(pod: Object, reason: str, message: str = "") -> None:
    """The container waits, for the reason that `kubectl get pods` shows."""
    waiting = {"reason": reason, **({"message": message} if message else {})}
    _container(pod).update(state={"waiting": waiting}, ready=False, started=False)
    set_ready(pod, ready=False)


def start(pod: Object, container_id: str) -> None:
    """Its process runs."""
    pod["status"]["phase"] = "Running"
    state = {"running": {"startedAt": stamp()}}
    _container(pod).update(state=state, ready=False, started=False, containerID=container_id)
    set_ready(pod, ready=False)


def set_ready(pod: Object, *, ready: bool) -> None:
    """What the probes found."""
    _container(pod)["ready"] = ready
    message = "" if ready else f"containers with unready status: [{_container(pod)['name']}]"
    for type_ in ("ContainersReady", "Ready"):
        set_condition(pod, type_, ready, "" if ready else NOT_READY, message)


def set_started(pod: Object) -> None:
    """The startup probe is through, or there is none."""
    _container(pod)["started"] = True


def terminate(pod: Object, exit_code: int, reason: str = "") -> None:
    """Its process ended."""
    container = _container(pod)
    ended = {
        "exitCode": exit_code,
        "reason": reason or ("Completed" if exit_code == 0 else "Error"),
        "startedAt": container["state"].get("running", {}).get("startedAt", stamp()),
        "finishedAt": stamp(),
        "containerID": container.get("containerID", ""),
    }
    container.update(state={"terminated": ended}, ready=False, started=False)
    set_ready(pod, ready=False)


def restart_after(pod: Object, message: str) -> None:
    """It will be started again, after a back-off."""
    container = _container(pod)
    container["lastState"] = container["state"]
    container["restartCount"] += 1
    wait(pod, "CrashLoopBackOff", message)


def finish(pod: Object) -> None:
    """Nothing of it will run again."""
    ended = _container(pod)["state"].get("terminated", {"exitCode": 1})
    phase = "Succeeded" if ended["exitCode"] == 0 else "Failed"
    pod["status"]["phase"] = phase
    for type_ in ("Ready", "ContainersReady"):
        set_condition(pod, type_, holds=False, reason="PodCompleted" if phase == "Succeeded" else "PodFailed")


def is_ready(pod: Object) -> bool:
    """Whether it would get traffic."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def ready_since(pod: Object) -> str:
    """When that turned; empty where it never did."""
    turned = (c["lastTransitionTime"] for c in pod["status"].get("conditions", []) if c["type"] == "Ready")
    return str(next(turned, ""))


def fail(pod: Object, reason: str, message: str) -> None:
    """It was ended from outside."""
    pod["status"] |= {"phase": "Failed", "reason": reason, "message": message}


def _container(pod: Object) -> Any:
    """The status of the one container."""
    spec = pod["spec"]["containers"][0]
    if "containerStatuses" not in pod["status"]:
        fresh = {
            "name": spec["name"],
            "image": spec["image"],
            "imageID": "",
            "restartCount": 0,
            "ready": False,
            "started": False,
            "state": {},
            "lastState": {},
        }
        pod["status"]["containerStatuses"] = [fresh]
    return pod["status"]["containerStatuses"][0]
