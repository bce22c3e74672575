"""What the cluster's objects say about a cold runner, read from their JSON."""

from dataclasses import dataclass
from datetime import datetime

from services.operator.kubernetes.cluster import Json
from services.operator.kubernetes.job_manifest import CONTAINER
from services.operator.launcher import Trouble
from shared.contract import ColdStage

HOPELESS = {
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
}
"""Why a container waits that does not come up by itself soon; a new Job takes the template as it is by then."""


def finished(job: Json) -> bool:
    """Whether a Job has come to its end, or is being deleted."""
    return "deletionTimestamp" in job["metadata"] or any(
        _condition(job, kind) for kind in ("Complete", "Failed", "FailureTarget")
    )


def job_failure(job: Json, pod: Json | None) -> Trouble | None:
    """Why a finished Job failed; None if it did not. What its Pod says is nearer to the cause."""
    failed = _condition(job, "Failed") or _condition(job, "FailureTarget")
    if not failed:
        return None
    return (pod_failure(pod) if pod else None) or Trouble(failed.get("reason", "Failed"), failed.get("message", ""))


def pod_failure(pod: Json) -> Trouble | None:
    """Why a Pod ended badly, or None."""
    status = pod.get("status", {})
    if status.get("phase") == "Failed" and status.get("reason"):
        return Trouble(status["reason"], status.get("message", ""))
    for container in _containers(pod):
        ended = container.get("state", {}).get("terminated")
        if ended and ended.get("exitCode"):
            return _bad_end(container["name"], ended)
    return None


def pod_trouble(pod: Json) -> Trouble | None:
    """Why a Pod that is to come up does not, or None."""
    for container in _containers(pod):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in HOPELESS:
            return Trouble(waiting["reason"], waiting.get("message", ""))
    scheduled = _condition(pod, "PodScheduled", "False")
    if scheduled and scheduled.get("reason") == "Unschedulable":
        return Trouble("Unschedulable", scheduled.get("message", ""), patience=True)
    return None


def event_trouble(event: Json) -> Trouble:
    """What the event says that tells of a Job whose Pod was refused, such as by a quota."""
    return Trouble(event.get("reason", ""), event.get("message", ""), patience=True)


def stage(pod: Json | None) -> ColdStage:
    """How far a Job's Pod has come."""
    if pod is None:
        return "created"
    containers = pod.get("status", {}).get("containerStatuses") or []
    if any("running" in container.get("state", {}) for container in containers):
        return "started"
    return "scheduled" if _condition(pod, "PodScheduled") else "created"


def surely_gone(pod: Json, deleted: bool) -> bool:
    """Whether the API has seen a Pod's containers end, for good.

    An object that was removed by force, or whose node is lost, says no such thing: its processes may live on.
    """
    status = pod.get("status", {})
    states = [container.get("state", {}) for container in status.get("containerStatuses") or []]
    if status.get("phase") in {"Failed", "Succeeded"}:
        return not any("running" in state for state in states)
    return deleted and bool(states) and all("terminated" in state for state in states)


@dataclass(frozen=True)
class End:
    """The end of a container, as the node's runtime saw it."""

    at: float
    """By the clock of the node, rounded down to whole seconds."""
    why: str


def runner_end(pod: Json) -> End | None:
    """The last end of a Pod's runner that was seen, whether or not it has been started again since."""
    containers = pod.get("status", {}).get("containerStatuses") or []
    runner: Json = next((container for container in containers if container["name"] == CONTAINER), {})
    states = (runner.get("state") or {}, runner.get("lastState") or {})
    ended: Json = next((state["terminated"] for state in states if state.get("terminated")), {})
    # Of a container that a node lost track of there is no time.
    if not ended.get("finishedAt"):
        return None
    trouble = _bad_end(CONTAINER, ended)
    return End(datetime.fromisoformat(ended["finishedAt"]).timestamp(), f"{trouble.reason}: {trouble.message}")


def why_gone(pod: Json) -> str:
    """What the API says of a Pod that is gone, in a few words."""
    failure = pod_failure(pod)
    if failure:
        return f"{failure.reason}: {failure.message}" if failure.message else failure.reason
    return "it was deleted" if "deletionTimestamp" in pod["metadata"] else "it has ended"


def _bad_end(name: str, ended: Json) -> Trouble:
    told = ended.get("message") or f"container {name} exited with code {ended.get('exitCode')}"
    return Trouble(ended.get("reason") or "Error", told)


def _containers(pod: Json) -> list[Json]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _condition(item: Json, kind: str, status: str = "True") -> Json | None:
    conditions: list[Json] = item.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind and one["status"] == status), None)
