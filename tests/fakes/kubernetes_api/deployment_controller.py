"""Deployments and their ReplicaSets: so many Pods of a template.

https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ and …/replicaset/. A changed template is rolled
out with a full surge: an old Pod is told to stop once a new one is ready in its place, whatever `strategy` says.
"""

import hashlib
import json
from collections import defaultdict
from typing import Any

from tests.fakes.kubernetes_api.events import tell
from tests.fakes.kubernetes_api.job_controller import pod_of
from tests.fakes.kubernetes_api.operations import DeleteOptions, Operations
from tests.fakes.kubernetes_api.pod_status import is_ready, ready_since, set_condition
from tests.fakes.kubernetes_api.quota import FINISHED
from tests.fakes.kubernetes_api.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from tests.fakes.kubernetes_api.statuses import ApiError, Object
from tests.fakes.kubernetes_api.store import Store

HASH = "pod-template-hash"
COST = "controller.kubernetes.io/pod-deletion-cost"
_NEVER = float("inf")
_PHASES = ("Pending", "Unknown", "Running")


class DeploymentController:
    """Acts on what it finds; called after every change and when a time has come that it named."""

    def __init__(self, store: Store, operations: Operations, back_off_s: float) -> None:
        self._store = store
        self._operations = operations
        self._back_off_s = back_off_s
        self._refused: dict[str, int] = defaultdict(int)
        self._retry_at: dict[str, float] = {}

    def reconcile(self, now: float) -> float:
        """Do what is to be done now; the result is when to look again though nothing changed."""
        for deployment in self._store.all_of(DEPLOYMENTS):
            if "deletionTimestamp" not in deployment["metadata"]:
                self._roll(deployment)
        pods: dict[str, list[Object]] = defaultdict(list)
        for pod in self._store.all_of(PODS):
            for owner in pod["metadata"].get("ownerReferences", []):
                pods[owner["uid"]].append(pod)
        sets = [item for item in self._store.all_of(REPLICA_SETS) if "deletionTimestamp" not in item["metadata"]]
        return min((self._fill(item, pods[item["metadata"]["uid"]], now) for item in sets), default=_NEVER)

    def _roll(self, deployment: Object) -> None:
        """Give each ReplicaSet its number, and the Deployment their sums."""
        uid, wanted = deployment["metadata"]["uid"], deployment["spec"]["replicas"]
        own = [item for item in self._store.all_of(REPLICA_SETS) if _owned_by(item, uid)]
        name = f"{deployment['metadata']['name']}-{_hash(deployment['spec']['template'])}"
        newest = next((item for item in own if item["metadata"]["name"] == name), None)
        if newest is None:
            self._store.create(REPLICA_SETS, _replica_set(deployment, name))
            return
        self._set_replicas(deployment, newest, wanted)
        left = max(0, wanted - newest["status"].get("readyReplicas", 0))
        for item in own:
            if item is not newest:
                self._set_replicas(deployment, item, min(item["spec"]["replicas"], left))
                left -= min(item["spec"]["replicas"], left)
        self._operations.change(DEPLOYMENTS, deployment, lambda item: _sum_up(item, newest, own))

    def _set_replicas(self, deployment: Object, item: Object, number: int) -> None:
        before = item["spec"]["replicas"]
        if before != number:
            way = "up" if number > before else "down"
            message = f"Scaled {way} replica set {item['metadata']['name']} from {before} to {number}"
            tell(self._store, DEPLOYMENTS, deployment, "ScalingReplicaSet", message, component="deployment-controller")
            self._operations.change(REPLICA_SETS, item, lambda item: item["spec"].update(replicas=number))

    def _fill(self, item: Object, pods: list[Object], now: float) -> float:
        """Make the Pods that are missing, delete those that are too many."""
        active = [
            pod for pod in pods if pod["status"]["phase"] not in FINISHED and "deletionTimestamp" not in pod["metadata"]
        ]
        ready = sum(map(is_ready, active))
        item = self._operations.change(
            REPLICA_SETS,
            item,
            lambda item: item["status"].update(
                replicas=len(active),
                readyReplicas=ready,
                availableReplicas=ready,
                observedGeneration=item["metadata"]["generation"],
            ),
        )
        missing = item["spec"]["replicas"] - len(active)
        for pod in sorted(active, key=_rank)[: max(0, -missing)]:
            self._operations.delete(PODS, pod, DeleteOptions(policy="Background"))
            self._tell(item, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
        return self._make(item, missing, now) if missing > 0 else _NEVER

    def _make(self, item: Object, missing: int, now: float) -> float:
        uid = item["metadata"]["uid"]
        if now < self._retry_at.get(uid, 0):
            return self._retry_at[uid]
        try:
            for _ in range(missing):
                pod = pod_of(item["spec"]["template"], REPLICA_SETS.api_version, item)
                made = self._operations.create(PODS, item["metadata"]["namespace"], pod)
                self._tell(item, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        except ApiError as error:
            self._tell(item, "FailedCreate", f"Error creating: {error.message}", type_="Warning")
            self._retry_at[uid] = now + self._back_off_s * 2 ** self._refused[uid]
            self._refused[uid] += 1
            return self._retry_at[uid]
        self._refused.pop(uid, None)
        return now

    def _tell(self, item: Object, reason: str, message: str, type_: str = "Normal") -> None:
        tell(self._store, REPLICA_SETS, item, reason, message, component="replicaset-controller", type_=type_)


def _replica_set(deployment: Object, name: str) -> Object:
    template, metadata = deployment["spec"]["template"], deployment["metadata"]
    key = name.rpartition("-")[2]
    labels = {**template["metadata"]["labels"], HASH: key}
    selector = deployment["spec"]["selector"]
    owner = {
        "apiVersion": DEPLOYMENTS.api_version,
        "kind": DEPLOYMENTS.kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": REPLICA_SETS.api_version,
        "kind": REPLICA_SETS.kind,
        "metadata": {"name": name, "namespace": metadata["namespace"], "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "replicas": 0,
            "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH: key}},
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        },
        "status": {"replicas": 0},
    }


def _hash(template: Object) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def _owned_by(item: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in item["metadata"].get("ownerReferences", []))


def _sum_up(deployment: Object, newest: Object, own: list[Object]) -> None:
    replicas = sum(item["status"].get("replicas", 0) for item in own)
    ready = sum(item["status"].get("readyReplicas", 0) for item in own)
    wanted = deployment["spec"]["replicas"]
    status = deployment["status"]
    status["observedGeneration"] = deployment["metadata"]["generation"]
    numbers = {
        "replicas": replicas,
        "updatedReplicas": newest["status"].get("replicas", 0),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(0, wanted - ready),
    }
    for name, number in numbers.items():
        status.pop(name, None)
        if number:
            status[name] = number
    available = ready >= wanted - wanted // 4
    set_condition(deployment, "Available", available, f"MinimumReplicas{'A' if available else 'Una'}vailable")
    set_condition(deployment, "Progressing", True, "NewReplicaSetAvailable" if ready >= wanted else "ReplicaSetUpdated")


def _rank(pod: Object) -> Any:
    """Those that are missed least go first; …/replicaset/#scaling-a-replicaset."""
    annotations = pod["metadata"].get("annotations") or {}
    restarts = sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))
    return (
        bool(pod["spec"].get("nodeName")),
        _PHASES.index(pod["status"]["phase"]),
        is_ready(pod),
        int(annotations.get(COST, 0)),
        _backwards(ready_since(pod)),
        -restarts,
        _backwards(pod["metadata"]["creationTimestamp"]),
    )


def _backwards(time: str) -> list[int]:
    """Later times first."""
    return [-ord(letter) for letter in time]
