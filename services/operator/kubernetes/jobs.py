"""Cold runners as Kubernetes Jobs.

A Job is made for one launch, and serves whichever waits longest. So launches and Jobs are not matched one to one: as
long as as many Jobs may still take a launch as launches wait, no further one is needed, and those that are too many and
have not begun are deleted.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count

import structlog

from services.operator.kubernetes.cluster import Cluster, ClusterError, Json
from services.operator.kubernetes.cluster_view import ClusterView
from services.operator.kubernetes.job_manifest import NoTemplate, job_manifest, job_name
from services.operator.kubernetes.pod_states import (
    event_trouble,
    finished,
    job_failure,
    pod_failure,
    pod_trouble,
    stage,
)
from services.operator.launcher import LaunchError, Outlook
from services.operator.settings import OperatorSettings
from shared.contract import Presence
from shared.errors import Unavailable
from shared.launches import Launches
from shared.presence import present
from shared.redis.connection import Redis

TIDY_EVERY_S = 1.0
CLAIM_WITHIN_S = 30.0
"""A cold runner whose container runs for so long, and that nobody has heard of, does not come."""
START_WITHIN_S = 300.0
"""A cold runner that says for so long that it starts does not come, such as one whose bot's import hangs."""
UNSEEN_S = 30.0
"""A Job that was made and does not show in the watch for so long counts as deleted."""

log = structlog.get_logger()


@dataclass(frozen=True)
class ColdJob:
    """A Job by its name, whoever made it."""

    name: str
    jobs: "Jobs"

    @property
    def outlook(self) -> Outlook:
        """As the watch and the runner's own presence have it."""
        return self.jobs.outlook(self.name)


def job_of(pod: str) -> str:
    """The name of the Job whose Pod has this name."""
    return pod.rpartition("-")[0]


def surplus(jobs: Iterable[Json], *, pending: set[str], waiting: int, cold_max: int) -> list[str]:
    """The names of unfinished Jobs to delete, newest first: more have not begun than launches wait, or than may be.

    Every operator comes to the same list. Those that have begun are left out: they may be about to take a launch.
    """
    live = [job for job in jobs if not finished(job)]
    order = sorted(
        (job["metadata"]["creationTimestamp"], job["metadata"]["name"])
        for job in live
        if job["metadata"]["name"] in pending
    )
    excess = max(len(order) - waiting, len(live) - cold_max, 0)
    return [name for _, name in reversed(order)][:excess]


class Jobs:
    """The `kubernetes` launcher."""

    name = "kubernetes"

    def __init__(self, redis: Redis, cluster: Cluster, view: ClusterView, settings: OperatorSettings) -> None:
        self._redis = redis
        self._launches = Launches(redis)
        self._cluster = cluster
        self._view = view
        self._settings = settings
        self._waiting = 0
        self._present: dict[str, Presence] = {}
        self._met: set[str] = set()
        self._began: dict[str, float] = {}
        self._starting: dict[str, float] = {}
        self._made: dict[str, float] = {}
        self._too_many: set[str] = set()
        self._changed: Callable[[], None] = lambda: None
        view.job_changed.append(self._note)

    async def run(self) -> None:
        """Delete what is too much until cancelled."""
        while True:
            with suppress(Unavailable):
                await self.look()
                await self._tidy()
            await asyncio.sleep(TIDY_EVERY_S)

    async def look(self) -> None:
        """Read what waits and who is there.

        Raises:
            Unavailable: Redis does not answer.
        """
        self._waiting = await self._launches.depth()
        cold = [presence for presence in await present(self._redis) if presence.start == "cold"]
        self._present = {job_of(presence.host): presence for presence in cold}
        self._met |= self._present.keys()
        now = time.monotonic()
        jobs = self._view.jobs
        self._made = {name: at for name, at in self._made.items() if name not in jobs and now - at < UNSEEN_S}
        running = [name for name in jobs if stage(self._view.pod_of(name)) == "started"]
        self._began = {name: self._began.get(name, now) for name in running}
        starting = [name for name, presence in self._present.items() if presence.state == "starting"]
        self._starting = {name: self._starting.get(name, now) for name in starting}

    def room(self) -> int:
        """How many more Jobs may be made, and are needed."""
        if not self._view.complete:
            # With an error, `start` has something to say.
            return int(self._view.error is not None)
        live = [name for name, job in self._view.jobs.items() if not finished(job)]
        coming = sum(self.outlook(name).coming for name in live)
        return min(self._settings.cold_max - len(live), self._waiting - coming) - len(self._made)

    def coming(self) -> int:
        """How many Jobs may still take a launch."""
        return sum(self.outlook(name).coming for name in {*self._view.jobs, *self._made})

    def find(self, session_id: str, attempt: int) -> ColdJob | None:
        """The Job of this attempt that may still take it, whoever made it."""
        for number in count(1):
            name = job_name(session_id, attempt, number)
            if name not in self._view.jobs and name not in self._made:
                return None
            if self.outlook(name).coming:
                return ColdJob(name, self)
        return None

    async def start(self, session_id: str, attempt: int, changed: Callable[[], None]) -> ColdJob:
        """Make a Job for this attempt, in the place of those that do not come up.

        Raises:
            LaunchError: the API refused, or does not answer.
        """
        self._changed = changed
        if (error := self._view.error) and not self._view.complete:
            raise LaunchError(str(error), error.reason, passing=True)
        deployment = self._view.deployment
        if deployment is None:
            name = self._settings.runner_deployment
            raise LaunchError(f"there is no Deployment called {name}", "NoDeployment", passing=True)
        number = await self._next_number(session_id, attempt)
        longest_s = self._settings.max_duration_s
        try:
            manifest = job_manifest(deployment, session_id, attempt, number=number, max_duration_s=longest_s)
        except NoTemplate as error:
            raise LaunchError(str(error), "NoTemplate") from error
        name = manifest["metadata"]["name"]
        self._made[name] = time.monotonic()
        try:
            await self._cluster.create("jobs", manifest)
        except ClusterError as error:
            # A second operator was faster; or the answer came too late, and the watch sooner: both are as good.
            # A 409 for another reason is a quota that many write to at once: there is no Job.
            if error.reason != "AlreadyExists" and name not in self._view.jobs:
                self._made.pop(name, None)
                raise LaunchError(
                    str(error), error.reason, passing=not error.refused, retry_after_s=error.retry_after_s or 0.0
                ) from error
        return ColdJob(name, self)

    def outlook(self, name: str) -> Outlook:
        """What is to be expected of a Job."""
        job, pod = self._view.jobs.get(name), self._view.pod_of(name)
        if job is None:
            return Outlook(coming=name in self._made and not self._elsewhere(name))
        if finished(job):
            return Outlook(False, stage(pod), job_failure(job, pod))
        if self._elsewhere(name):
            return Outlook(False, "started")
        if pod is None:
            refusal = self._view.refusal_of(job)
            return Outlook(trouble=event_trouble(refusal) if refusal else None)
        if failure := pod_failure(pod):
            return Outlook(False, stage(pod), failure)
        trouble = pod_trouble(pod)
        return Outlook(trouble is None or trouble.patience, stage(pod), trouble)

    def _elsewhere(self, name: str) -> bool:
        """Whether the Job's runner has a session, had one, or was never heard of."""
        if presence := self._present.get(name):
            return presence.busy > 0 or not presence.takes_launches or self._hangs(name)
        return name in self._met or time.monotonic() - self._began.get(name, time.monotonic()) > CLAIM_WITHIN_S

    def _hangs(self, name: str) -> bool:
        """Whether the Job's runner has been starting for too long."""
        return time.monotonic() - self._starting.get(name, float("inf")) > START_WITHIN_S

    async def _next_number(self, session_id: str, attempt: int) -> int:
        for number in count(1):
            name = job_name(session_id, attempt, number)
            job = self._view.jobs.get(name)
            if job is None and name not in self._made:
                return number
            if job is not None and not finished(job) and pod_trouble(self._view.pod_of(name) or {}):
                await self._delete(job)
        raise AssertionError

    async def _tidy(self) -> None:
        if not self._view.complete:
            return
        jobs = self._view.jobs
        self._met &= {*jobs, *self._made, *self._present}
        # A runner says that it is there before it takes a launch, and sooner than the watch, which may be late.
        pending = {name for name in jobs if name not in self._met and stage(self._view.pod_of(name)) != "started"}
        found = surplus(jobs.values(), pending=pending, waiting=self._waiting, cold_max=self._settings.cold_max)
        # Twice in a row: a launch on its way from one attempt to the next is not counted for a moment.
        chosen, self._too_many = [name for name in found if name in self._too_many], set(found)
        for name in chosen:
            if job := jobs.get(name):
                log.info("cold_job_not_needed", job=name, waiting=self._waiting)
                await self._delete(job)
        for name, job in list(jobs.items()):
            if self._hangs(name) and not finished(job):
                log.warning("cold_job_hangs", job=name, starting_for_s=START_WITHIN_S)
                await self._delete(job)

    async def _delete(self, job: Json) -> None:
        about = job["metadata"]
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            # Not if it has changed since: its Pod may just have begun.
            "preconditions": {"uid": about["uid"], "resourceVersion": about["resourceVersion"]},
        }
        try:
            await self._cluster.delete("jobs", about["name"], options)
        except ClusterError as error:
            if error.status not in {404, 409}:
                log.warning("job_not_deleted", job=about["name"], status=error.status, error=str(error))

    def _note(self) -> None:
        for name in self._view.jobs:
            self._made.pop(name, None)
        self._changed()
