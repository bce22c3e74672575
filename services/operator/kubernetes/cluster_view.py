"""What the operator knows of the cluster: the runner Deployment, its Pods, and the cold Jobs, as of this moment."""

import asyncio
from collections.abc import Callable

from services.operator.kubernetes.cluster import Cluster, ClusterError, Json
from services.operator.kubernetes.job_manifest import cold_jobs
from services.operator.kubernetes.watched import Changed, Watched

JOB_OF_POD = "batch.kubernetes.io/job-name"


def selector_text(selector: Json) -> str:
    """A selector of a spec, as a list or a watch takes it."""
    wanted = [f"{name}={value}" for name, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or []:
        key, values = one["key"], ",".join(one.get("values") or [])
        alone = {"Exists": key, "DoesNotExist": f"!{key}"}
        wanted.append(alone.get(one["operator"], f"{key} {one['operator'].lower()} ({values})"))
    return ",".join(wanted)


class ClusterView:
    """Reading is free; `run` keeps it up to date."""

    def __init__(self, cluster: Cluster, deployment: str) -> None:
        self.pod_changed: list[Changed] = []
        self.job_changed: list[Callable[[], None]] = []
        self._cluster = cluster
        self._name = deployment
        self._found = asyncio.Event()
        self._selector = ""
        self._pods_of: dict[str, Json] = {}
        self._events_of: dict[str, Json] = {}
        only_it = {"fieldSelector": f"metadata.name={deployment}"}
        refused = {"fieldSelector": "involvedObject.kind=Job,reason=FailedCreate"}
        self._deployments = Watched(cluster, "deployments", only_it, self._note_deployment)
        self._jobs = Watched(cluster, "jobs", {"labelSelector": cold_jobs(deployment)}, self._note_job)
        self._events = Watched(cluster, "events", refused, self._note_event)
        self._pods: Watched | None = None

    @property
    def complete(self) -> bool:
        """Whether everything has been seen once; nothing is to be concluded before."""
        return self._jobs.listed.is_set() and self._pods is not None and self._pods.listed.is_set()

    @property
    def error(self) -> ClusterError | None:
        """Why something is not seen, or may be old."""
        watched = [self._deployments, self._jobs, *([self._pods] if self._pods else [])]
        return next((one.error for one in watched if one.error), None)

    @property
    def deployment(self) -> Json | None:
        """The runner Deployment, or None while there is none."""
        return self._deployments.objects.get(self._name)

    @property
    def jobs(self) -> dict[str, Json]:
        """The cold Jobs by name, finished ones too."""
        return self._jobs.objects

    def pod_of(self, job: str) -> Json | None:
        """The Pod of a cold Job."""
        return self._pods_of.get(job)

    def refusal_of(self, job: Json) -> Json | None:
        """The last event that says why a Job gets no Pod."""
        event = self._events_of.get(job["metadata"]["name"])
        ours = event and event["involvedObject"].get("uid") == job["metadata"]["uid"]
        return event if ours else None

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watched in (self._deployments, self._jobs, self._events):
                group.create_task(watched.run())
            await self._found.wait()
            # The Deployment's selector cannot change, and cold Pods have the same labels.
            self._pods = Watched(self._cluster, "pods", {"labelSelector": self._selector}, self._note_pod)
            group.create_task(self._pods.run())

    def _note_deployment(self, deployment: Json, deleted: bool) -> None:
        if not deleted:
            self._selector = selector_text(deployment["spec"]["selector"])
            self._found.set()

    def _note_job(self, job: Json, deleted: bool) -> None:
        if deleted:
            self._events_of.pop(job["metadata"]["name"], None)
        self._tell()

    def _note_event(self, event: Json, deleted: bool) -> None:
        name = event["involvedObject"]["name"]
        if deleted:
            self._events_of.pop(name, None)
        else:
            self._events_of[name] = event
        self._tell()

    def _note_pod(self, pod: Json, deleted: bool) -> None:
        job = (pod["metadata"].get("labels") or {}).get(JOB_OF_POD)
        if job and not deleted:
            self._pods_of[job] = pod
        elif job and self._pods_of.get(job, pod)["metadata"]["uid"] == pod["metadata"]["uid"]:
            self._pods_of.pop(job, None)
        for changed in self.pod_changed:
            changed(pod, deleted)
        if job:
            self._tell()

    def _tell(self) -> None:
        for changed in self.job_changed:
            changed()
