"""The Job controller: Pods for Jobs, and what became of them in the Job's status.

https://kubernetes.io/docs/concepts/workloads/controllers/job/. Since 1.31 `SuccessCriteriaMet` and `FailureTarget` say
what is decided, and `Complete` and `Failed` follow when the last Pod is at its end.
"""

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from tests.fakes.kubernetes_api.events import tell
from tests.fakes.kubernetes_api.operations import DeleteOptions, Operations
from tests.fakes.kubernetes_api.pod_status import is_ready
from tests.fakes.kubernetes_api.quota import FINISHED
from tests.fakes.kubernetes_api.resources import JOBS, PODS
from tests.fakes.kubernetes_api.statuses import ApiError, Object
from tests.fakes.kubernetes_api.store import Store, stamp

TRACKING = "batch.kubernetes.io/job-tracking"
COMPONENT = "job-controller"
_NEVER = float("inf")
_DECIDED = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}


class JobController:
    """Acts on what it finds; called after every change and when a time has come that it named."""

    def __init__(self, store: Store, operations: Operations, back_off_s: float) -> None:
        self._store = store
        self._operations = operations
        self._back_off_s = back_off_s
        self._retry_at: dict[str, float] = {}
        self._refused: dict[str, int] = defaultdict(int)
        self._failed_at: dict[str, float] = {}

    def reconcile(self, now: float) -> float:
        """Do what is to be done now; the result is when to look again though nothing changed."""
        pods: dict[str, list[Object]] = defaultdict(list)
        for pod in self._store.all_of(PODS):
            for owner in pod["metadata"].get("ownerReferences", []):
                if owner.get("controller"):
                    pods[owner["uid"]].append(pod)
        jobs = {job["metadata"]["uid"]: job for job in self._store.all_of(JOBS)}
        for pod in self._store.all_of(PODS):
            self._release_stray(pod, jobs)
        return min((self._sync(job, pods[uid], now) for uid, job in jobs.items()), default=_NEVER)

    def _release_stray(self, pod: Object, jobs: dict[str, Object]) -> None:
        """A Pod whose Job is gone or lets it go is not counted any more."""
        if TRACKING in pod["metadata"].get("finalizers", []):
            owner = next((o for o in pod["metadata"].get("ownerReferences", []) if o.get("controller")), None)
            job = jobs.get(owner["uid"]) if owner else None
            if job is None or "deletionTimestamp" in job["metadata"] or _condition(job, *_DECIDED.values()):
                self._operations.remove_finalizer(PODS, pod, TRACKING)

    def _sync(self, job: Object, pods: list[Object], now: float) -> float:
        if "deletionTimestamp" in job["metadata"]:
            return _NEVER
        if _condition(job, "Complete", "Failed"):
            return self._expire(job, now)
        counted = self._count(job, pods, now)
        pods = [pod for pod in pods if pod["status"]["phase"] not in FINISHED]
        active = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        if _condition(counted, *_DECIDED):
            self._wind_up(counted, pods, active)
            return _NEVER
        verdict, look_at = _verdict(counted, active, now)
        if verdict:
            self._decide(counted, verdict)
            return now
        return min(look_at, self._fill(counted, active, now))

    def _count(self, job: Object, pods: list[Object], now: float) -> Object:
        """The Job with its Pods counted. Each is counted once: then its tracking finalizer goes."""
        tracked = [pod for pod in pods if TRACKING in pod["metadata"].get("finalizers", [])]
        succeeded = [pod for pod in tracked if pod["status"]["phase"] == "Succeeded"]
        failed = [pod for pod in tracked if _has_failed(job, pod)]
        living = [pod for pod in pods if pod["status"]["phase"] not in FINISHED]
        if failed:
            self._failed_at[job["metadata"]["uid"]] = now

        def edit(job: Object) -> None:
            status = job["status"]
            status.setdefault("startTime", stamp())
            status["uncountedTerminatedPods"] = {}
            for name, more in (("succeeded", len(succeeded)), ("failed", len(failed))):
                _set(status, name, status.get(name, 0) + more)
            _set(status, "active", sum("deletionTimestamp" not in pod["metadata"] for pod in living))
            status["ready"] = sum(is_ready(pod) for pod in living)
            status["terminating"] = sum("deletionTimestamp" in pod["metadata"] for pod in living)

        job = self._operations.change(JOBS, job, edit)
        for pod in [*succeeded, *failed]:
            self._operations.remove_finalizer(PODS, pod, TRACKING)
        return job

    def _decide(self, job: Object, verdict: tuple[str, str, str]) -> None:
        type_, reason, message = verdict
        self._operations.change(JOBS, job, lambda job: _add_condition(job, type_, reason, message))

    def _wind_up(self, job: Object, pods: list[Object], active: list[Object]) -> None:
        """End the Pods that are left; when the last one is at its end, so is the Job."""
        for pod in active:
            self._operations.delete(PODS, pod, DeleteOptions(policy="Background"))
        if pods:
            return
        decided = _condition(job, *_DECIDED)
        final = _DECIDED[decided["type"]]

        def edit(job: Object) -> None:
            _add_condition(job, final, decided["reason"], decided["message"])
            if final == "Complete":
                job["status"]["completionTime"] = stamp()

        self._operations.change(JOBS, job, edit)
        if final == "Complete":
            tell(self._store, JOBS, job, "Completed", "Job completed", component=COMPONENT)
        else:
            tell(self._store, JOBS, job, decided["reason"], decided["message"], component=COMPONENT, type_="Warning")

    def _fill(self, job: Object, active: list[Object], now: float) -> float:
        """Make the Pods that are missing, after a back-off where one failed or could not be made."""
        spec, status, uid = job["spec"], job["status"], job["metadata"]["uid"]
        terminating = 0 if spec["podReplacementPolicy"] == "TerminatingOrFailed" else status["terminating"]
        left = spec.get("completions", 1) - status.get("succeeded", 0)
        missing = 0 if spec["suspend"] else min(spec["parallelism"], left) - len(active) - terminating
        if missing <= 0:
            return _NEVER
        if failures := status.get("failed", 0):
            self._retry_at[uid] = max(
                self._retry_at.get(uid, 0), self._failed_at.get(uid, 0) + self._back_off_s * 2 ** (failures - 1)
            )
        if now < self._retry_at.get(uid, 0):
            return self._retry_at[uid]
        try:
            for _ in range(missing):
                self._make_pod(job)
        except ApiError as error:
            message = f"Error creating: {error.message}"
            tell(self._store, JOBS, job, "FailedCreate", message, component=COMPONENT, type_="Warning")
            self._refused[uid] += 1
            self._retry_at[uid] = now + self._back_off_s * 2 ** (self._refused[uid] - 1)
            return self._retry_at[uid]
        self._refused.pop(uid, None)
        return now

    def _make_pod(self, job: Object) -> None:
        pod = pod_of(job["spec"]["template"], JOBS.api_version, job)
        pod["metadata"]["finalizers"] = [TRACKING]
        made = self._operations.create(PODS, job["metadata"]["namespace"], pod)
        name = made["metadata"]["name"]
        tell(self._store, JOBS, job, "SuccessfulCreate", f"Created pod: {name}", component=COMPONENT)

    def _expire(self, job: Object, now: float) -> float:
        """https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/."""
        ttl_s = job["spec"].get("ttlSecondsAfterFinished")
        if ttl_s is None:
            return _NEVER
        finished = _seconds(_condition(job, "Complete", "Failed")["lastTransitionTime"])
        if now < finished + ttl_s:
            return finished + float(ttl_s)
        self._operations.delete(JOBS, job, DeleteOptions(policy="Foreground"))
        return _NEVER


def pod_of(template: Object, api_version: str, owner: Object) -> Object:
    """A Pod of a template, with the owner that controls it."""
    metadata = template.get("metadata") or {}
    reference = {
        "apiVersion": api_version,
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {
            "generateName": f"{owner['metadata']['name']}-",
            "labels": dict(metadata.get("labels") or {}),
            **({"annotations": dict(metadata["annotations"])} if metadata.get("annotations") else {}),
            "ownerReferences": [reference],
        },
        "spec": template["spec"],
    }


def _verdict(job: Object, active: list[Object], now: float) -> tuple[tuple[str, str, str] | None, float]:
    """What is decided about a Job, if anything, and when its deadline is."""
    spec, status = job["spec"], job["status"]
    if _past_back_off_limit(job, active):
        return ("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit"), _NEVER
    deadline_s = spec.get("activeDeadlineSeconds")
    deadline = _seconds(status["startTime"]) + deadline_s if deadline_s is not None else _NEVER
    if now >= deadline:
        return ("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline"), _NEVER
    if status.get("succeeded", 0) >= spec.get("completions", 1):
        return ("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods"), _NEVER
    return None, deadline


def _past_back_off_limit(job: Object, active: list[Object]) -> bool:
    limit = job["spec"]["backoffLimit"]
    if job["status"].get("failed", 0) > limit:
        return True
    if job["spec"]["template"]["spec"]["restartPolicy"] != "OnFailure":
        return False
    restarts = sum(status["restartCount"] for pod in active for status in pod["status"].get("containerStatuses", []))
    return bool(restarts > 0 if limit == 0 else restarts >= limit)


def _has_failed(job: Object, pod: Object) -> bool:
    if pod["status"]["phase"] == "Failed":
        return True
    going = "deletionTimestamp" in pod["metadata"] and pod["status"]["phase"] != "Succeeded"
    return going and job["spec"]["podReplacementPolicy"] == "TerminatingOrFailed"


def _condition(job: Object, *types: str) -> Any:
    conditions = job["status"].get("conditions", [])
    return next((c for c in conditions if c["type"] in types and c["status"] == "True"), None)


def _add_condition(job: Object, type_: str, reason: str, message: str) -> None:
    condition = {
        "type": type_,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastProbeTime": stamp(),
        "lastTransitionTime": stamp(),
    }
    job["status"].setdefault("conditions", []).append(condition)


def _set(status: Object, name: str, number: int) -> None:
    """Numbers of zero are left out, as `omitempty` does."""
    status.pop(name, None)
    if number:
        status[name] = number


def _seconds(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
