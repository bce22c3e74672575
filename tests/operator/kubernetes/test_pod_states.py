"""What the cluster says about a cold runner is understood."""

from typing import Any

import pytest

from services.operator.kubernetes.pod_states import (
    End,
    finished,
    job_failure,
    pod_failure,
    pod_trouble,
    runner_end,
    stage,
    surely_gone,
    why_gone,
)
from services.operator.launcher import Trouble

RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
CREATING: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
KILLED: dict[str, Any] = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
ENDED: dict[str, Any] = {"terminated": {"exitCode": 0, "reason": "Completed"}}
SCHEDULED = {"type": "PodScheduled", "status": "True"}
UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available",
}


def pod(*states: Any, phase: str = "Pending", conditions: Any = (), **status: Any) -> Any:
    containers = [{"name": f"c{number}", "state": state} for number, state in enumerate(states)]
    return {
        "metadata": {"name": "cold-x-1-abcde"},
        "status": {"phase": phase, "conditions": list(conditions), "containerStatuses": containers, **status},
    }


def job(*conditions: tuple[str, str], **metadata: Any) -> Any:
    told = [{"type": kind, "status": "True", "reason": reason, "message": "m"} for kind, reason in conditions]
    return {"metadata": {"name": "cold-x-1", **metadata}, "status": {"conditions": told}}


@pytest.mark.parametrize(
    ("item", "over"),
    [
        pytest.param(job(), False, id="a Job without a condition goes on"),
        pytest.param(job(("Suspended", "")), False, id="nor is it over because it waits"),
        pytest.param(job(("Complete", "")), True, id="a complete one is over"),
        pytest.param(job(("Failed", "")), True, id="a failed one too"),
        pytest.param(job(("FailureTarget", "")), True, id="one that is about to fail cannot be saved"),
        pytest.param(job(deletionTimestamp="2026-01-01T00:00:00Z"), True, id="one that is being deleted is as good as"),
    ],
)
def test_when_a_job_is_over(item: Any, over: bool) -> None:
    assert finished(item) is over


@pytest.mark.parametrize(
    ("item", "trouble"),
    [
        pytest.param(pod(), None, id="a Pod that nobody looked at is in no trouble"),
        pytest.param(pod(CREATING), None, id="nor is one whose container is being made"),
        pytest.param(pod(RUNNING, conditions=[SCHEDULED]), None, id="nor one that runs"),
        *(
            pytest.param(
                pod(RUNNING, {"waiting": {"reason": reason, "message": "why"}}), Trouble(reason, "why"), id=reason
            )
            for reason in (
                "ImagePullBackOff",
                "ErrImagePull",
                "CreateContainerConfigError",
                "CreateContainerError",
                "InvalidImageName",
                "CrashLoopBackOff",
            )
        ),
        pytest.param(
            pod(conditions=[UNSCHEDULABLE]),
            Trouble("Unschedulable", "0/3 nodes are available", patience=True),
            id="one without a node may yet get one",
        ),
        pytest.param(
            pod(initContainerStatuses=[{"name": "i", "state": {"waiting": {"reason": "ErrImagePull"}}}]),
            Trouble("ErrImagePull", ""),
            id="an init container counts",
        ),
    ],
)
def test_why_a_pod_does_not_come_up(item: Any, trouble: Trouble | None) -> None:
    assert pod_trouble(item) == trouble


@pytest.mark.parametrize(
    ("item", "failure"),
    [
        (pod(ENDED, phase="Succeeded"), None),
        (pod(RUNNING, phase="Running"), None),
        (pod(KILLED, phase="Failed"), Trouble("OOMKilled", "container c0 exited with code 137")),
        (
            pod({"terminated": {"exitCode": 1, "message": "bad settings"}}, phase="Failed"),
            Trouble("Error", "bad settings"),
        ),
        (pod(phase="Failed", reason="Evicted", message="low on memory"), Trouble("Evicted", "low on memory")),
    ],
)
def test_why_a_pod_failed(item: Any, failure: Trouble | None) -> None:
    assert pod_failure(item) == failure


def test_what_a_pod_says_is_nearer_to_the_cause_than_what_its_job_says() -> None:
    failed = job(("Failed", "BackoffLimitExceeded"))
    assert job_failure(failed, pod(KILLED, phase="Failed")) == pod_failure(pod(KILLED, phase="Failed"))
    assert job_failure(failed, None) == Trouble("BackoffLimitExceeded", "m")
    assert job_failure(job(("Complete", "")), pod(KILLED)) is None


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (None, "created"),
        (pod(), "created"),
        (pod(conditions=[UNSCHEDULABLE]), "created"),
        (pod(CREATING, conditions=[SCHEDULED]), "scheduled"),
        (pod(RUNNING, conditions=[SCHEDULED]), "started"),
    ],
)
def test_how_far_a_cold_runner_has_come(item: Any, said: str) -> None:
    assert stage(item) == said


@pytest.mark.parametrize(
    ("item", "deleted", "gone"),
    [
        pytest.param(pod(KILLED, phase="Failed"), False, True, id="a failed Pod is gone"),
        pytest.param(pod(ENDED, phase="Succeeded"), False, True, id="so is one that ended well"),
        pytest.param(pod(phase="Failed", reason="Evicted"), False, True, id="and one that was evicted"),
        pytest.param(pod(ENDED, KILLED, phase="Running"), True, True, id="a deleted one whose containers have ended"),
        pytest.param(pod(RUNNING, phase="Running"), False, False, id="a running one is there"),
        pytest.param(pod(KILLED, phase="Running"), False, False, id="a container that ends is started again"),
        pytest.param(pod(RUNNING, phase="Running"), True, False, id="removed by force, its processes may live"),
        pytest.param(pod(RUNNING, KILLED, phase="Running"), True, False, id="as long as one was not seen to end"),
        pytest.param(pod(RUNNING, phase="Failed"), False, False, id="of a lost node's Pod nobody saw the end"),
        pytest.param(pod(RUNNING, phase="Unknown", reason="NodeLost"), False, False, id="nor where it is not known"),
        pytest.param(pod(phase="Pending"), True, False, id="what never ran leaves nothing behind"),
    ],
)
def test_when_a_pods_processes_are_gone_for_certain(item: Any, deleted: bool, gone: bool) -> None:
    assert surely_gone(item, deleted) is gone


def restarted(*containers: tuple[str, Any, Any]) -> Any:
    statuses = [{"name": name, "state": state, "lastState": last} for name, state, last in containers]
    return pod(phase="Running", containerStatuses=statuses)


def ended(second: int | None) -> Any:
    """Killed at this second of 1970."""
    at = None if second is None else f"1970-01-01T00:00:{second:02}Z"
    return {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": at}}


@pytest.mark.parametrize(
    ("item", "at"),
    [
        pytest.param(pod(), None, id="a Pod that nobody looked at"),
        pytest.param(restarted(("runner", RUNNING, {})), None, id="one that never ended"),
        pytest.param(restarted(("runner", RUNNING, ended(7))), 7, id="one that was started again"),
        pytest.param(restarted(("runner", {"waiting": {}}, ended(7))), 7, id="one that will be"),
        pytest.param(restarted(("runner", ended(9), ended(7))), 9, id="of two ends the last"),
        pytest.param(restarted(("sidecar", RUNNING, ended(7)), ("runner", RUNNING, {})), None, id="another's end"),
        pytest.param(restarted(("runner", RUNNING, ended(None))), None, id="an end that nobody saw"),
    ],
)
def test_when_a_pods_runner_last_ended(item: Any, at: int | None) -> None:
    expected = None if at is None else End(at, "Error: container runner exited with code 137")
    assert runner_end(item) == expected


def test_why_a_pod_is_gone_is_told_in_its_own_words() -> None:
    assert why_gone(pod(phase="Failed", reason="Evicted", message="low on memory")) == "Evicted: low on memory"
    assert why_gone(pod(ENDED, phase="Succeeded")) == "it has ended"
