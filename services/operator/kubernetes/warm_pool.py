"""How many warm runners there are: what is busy and what waits, and a buffer, within the limits.

Only runners and launches of the operator's own agents count: other agents may have another Deployment, and operators.

Any number of operators come to the same number from the same presence and queue, so they do not fight: more runners at
once, as soon as they are needed; fewer only when none of the last while needed more. An operator that has not seen that
whole while itself, without a gap, does not take any away. Taking away drops no call: SIGTERM drains.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from services.operator.kubernetes.cluster import Cluster, ClusterError, Json
from services.operator.kubernetes.cluster_view import ClusterView
from services.operator.settings import OperatorSettings, buffer
from shared.contract import Presence
from shared.errors import Unavailable
from shared.launches import Launches
from shared.presence import present
from shared.redis.connection import Redis

LOOK_EVERY_S = 1.0
LONGEST_GAP_S = 10.0
"""After so long without a look, what was needed meanwhile is not known."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Demand:
    """What the fleet has to do at one moment."""

    busy: int
    """Slots of warm runners that have a session. Draining runners are leaving, and their sessions with them."""
    waiting: int
    """Launches that wait, without those that a cold runner is coming for."""
    slots_per_runner: int
    present: int
    """Warm runners that say that they are there."""


def demand(runners: Iterable[Presence], *, agents: Sequence[str], waiting: int, coming: int, slots: int) -> Demand:
    """The demand as presence and queue of these agents have it; `slots` of each runner, where none says it."""
    ours = (runner for runner in runners if not set(agents).isdisjoint(runner.agents))
    warm = [runner for runner in ours if runner.start == "warm" and runner.takes_launches]
    return Demand(
        busy=sum(runner.busy for runner in warm),
        waiting=max(waiting - coming, 0),
        slots_per_runner=max((runner.slots for runner in warm), default=0) or slots,
        present=len(warm),
    )


def needed(demand: Demand, settings: OperatorSettings) -> int:
    """How many warm runners this demand needs, within the limits."""
    number, percent = buffer(settings.warm_buffer)
    slots = demand.busy + demand.waiting + max(number, math.ceil(demand.busy * percent / 100))
    return min(max(math.ceil(slots / demand.slots_per_runner), settings.warm_min), settings.warm_max)


class Needs:
    """What was needed of late. Times are of one clock, and given."""

    def __init__(self, cooldown_s: float) -> None:
        self._cooldown_s = cooldown_s
        self._seen: deque[tuple[float, int]] = deque()
        self._since = 0.0
        self._replicas = 0

    def forget(self) -> None:
        """What is being seen is not the whole picture: begin anew."""
        self._seen.clear()

    def target(self, need: int, replicas: int, now: float) -> int:
        """How many there should be, where there are so many and this is needed.

        Up to what is needed now; down to the most of late. A number that was raised was needed by somebody.
        """
        if not self._seen or now - self._seen[-1][0] > LONGEST_GAP_S:
            self._seen.clear()
            self._since = now
        while self._seen and self._seen[0][0] <= now - self._cooldown_s:
            self._seen.popleft()
        raised, self._replicas = replicas > self._replicas, replicas
        self._seen.append((now, max(need, replicas) if raised else need))
        if need >= replicas:
            return need
        most = max(need for _, need in self._seen)
        return min(most, replicas) if now - self._since >= self._cooldown_s else replicas


class WarmPool:
    """Keeps the Deployment's size. `coming` says how many cold runners are about to take a launch."""

    def __init__(
        self, redis: Redis, cluster: Cluster, view: ClusterView, settings: OperatorSettings, coming: Callable[[], int]
    ) -> None:
        self._redis = redis
        self._launches = Launches(redis)
        self._cluster = cluster
        self._view = view
        self._settings = settings
        self._coming = coming
        self._needs = Needs(settings.warm_cooldown_s)
        self._complaint = ""

    async def run(self) -> None:
        """Look and act until cancelled."""
        while self._settings.warm_max:
            try:
                await self._look(time.monotonic())
            except Unavailable:
                self._needs.forget()
            except ClusterError as error:
                self._note_refusal(error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, now: float) -> None:
        deployment = self._view.deployment
        if deployment is None or not self._view.complete:
            return
        agents = self._settings.agents
        waiting, runners = await self._launches.depth(agents=agents), await present(self._redis)
        slots = self._settings.runner_slots
        found = demand(runners, agents=agents, waiting=waiting, coming=self._coming(), slots=slots)
        need = needed(found, self._settings)
        if found.present < deployment.get("status", {}).get("readyReplicas", 0):
            # Redis has lost, or not yet heard, what these have to say; nobody knows how busy they are.
            self._needs.forget()
        replicas = deployment["spec"].get("replicas", 1)
        target = self._needs.target(need, replicas, now)
        if target != replicas:
            await self._scale(deployment, target, found)

    async def _scale(self, deployment: Json, target: int, found: Demand) -> None:
        about = deployment["metadata"]
        scale = {"metadata": {"resourceVersion": about["resourceVersion"]}, "spec": {"replicas": target}}
        try:
            await self._cluster.merge("deployments", f"{about['name']}/scale", scale)
        except ClusterError as error:
            # Somebody was faster, perhaps with this very number; the next look sees it.
            if error.status != 409:
                raise
            return
        self._complaint = ""
        before = deployment["spec"].get("replicas", 1)
        log.info("warm_pool_scaled", before=before, after=target, busy=found.busy, waiting=found.waiting)

    def _note_refusal(self, error: ClusterError) -> None:
        if str(error) != self._complaint:
            self._complaint = str(error)
            log.warning("warm_pool_not_scaled", status=error.status, error=str(error))
