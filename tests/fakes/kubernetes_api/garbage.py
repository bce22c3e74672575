"""The garbage collector: what goes with its owner, and what outlives it.

https://kubernetes.io/docs/concepts/architecture/garbage-collection/.
"""

from collections import defaultdict

from tests.fakes.kubernetes_api.operations import FOREGROUND, ORPHAN, DeleteOptions, Operations
from tests.fakes.kubernetes_api.resources import Resource
from tests.fakes.kubernetes_api.statuses import Object
from tests.fakes.kubernetes_api.store import Store, key_of


class GarbageCollector:
    """Acts on what it finds; called after every change."""

    def __init__(self, store: Store, operations: Operations) -> None:
        self._store = store
        self._operations = operations

    def reconcile(self, now: float) -> float:
        """Do what is to be done now. Nothing here waits for a time."""
        everything = list(self._store.everything())
        uids = {item["metadata"]["uid"] for _, item in everything}
        dependents: dict[str, list[tuple[Resource, Object]]] = defaultdict(list)
        for resource, item in everything:
            for owner in item["metadata"].get("ownerReferences", []):
                dependents[owner["uid"]].append((resource, item))
        for resource, item in everything:
            owners = item["metadata"].get("ownerReferences", [])
            if owners and not any(owner["uid"] in uids for owner in owners):
                self._delete(resource, item, "Background")
            elif "deletionTimestamp" in item["metadata"]:
                self._finish(resource, item, dependents[item["metadata"]["uid"]])
        return float("inf")

    def _finish(self, resource: Resource, owner: Object, dependents: list[tuple[Resource, Object]]) -> None:
        finalizers = owner["metadata"].get("finalizers", [])
        if ORPHAN in finalizers:
            for kind, item in dependents:
                self._let_go(kind, item, owner["metadata"]["uid"])
            self._operations.remove_finalizer(resource, owner, ORPHAN)
        elif FOREGROUND in finalizers:
            for kind, item in dependents:
                self._delete(kind, item, "Foreground")
            if not any(_blocks(item, owner["metadata"]["uid"]) for _, item in dependents):
                self._operations.remove_finalizer(resource, owner, FOREGROUND)

    def _let_go(self, resource: Resource, item: Object, uid: str) -> None:
        def edit(item: Object) -> None:
            left = [owner for owner in item["metadata"].get("ownerReferences", []) if owner["uid"] != uid]
            item["metadata"].pop("ownerReferences", None)
            if left:
                item["metadata"]["ownerReferences"] = left

        if self._still_there(resource, item):
            self._operations.change(resource, item, edit)

    def _still_there(self, resource: Resource, item: Object) -> bool:
        return self._store.find(resource, *key_of(item)) is not None

    def _delete(self, resource: Resource, item: Object, policy: str) -> None:
        metadata = item["metadata"]
        if "deletionTimestamp" in metadata or not self._still_there(resource, item):
            return
        options = DeleteOptions(policy="Foreground" if policy == "Foreground" else "Background")
        self._operations.delete(resource, item, options)


def _blocks(item: Object, uid: str) -> bool:
    owners = item["metadata"].get("ownerReferences", [])
    return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)
