"""The objects of the cluster, their versions, and the history that watches are served from.

One counter gives every change its version, over all kinds, as etcd's revision does. Objects that were handed out are
never changed: a change puts a new one in the place.
"""

import asyncio
import copy
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from tests.fakes.kubernetes_api.resources import Resource
from tests.fakes.kubernetes_api.statuses import Object, already_exists, expired, not_found

Key: TypeAlias = tuple[str, str]
"""Namespace, empty for what has none, and name."""


@dataclass(frozen=True)
class Change:
    """One step of history. Of something deleted, `after` is its last state under the version of the deletion."""

    version: int
    resource: Resource
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    before: Object | None
    after: Object


def stamp(now: datetime | None = None) -> str:
    """A time as objects carry it: whole seconds, UTC."""
    return (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(item: Object) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


class Store:
    """All objects, and all changes since the last compaction."""

    def __init__(self) -> None:
        self.version = 1000
        self.compacted = self.version
        """History begins after this version."""
        self._objects: dict[Resource, dict[Key, Object]] = {}
        self._history: list[Change] = []
        self._moved = asyncio.Event()

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._objects.get(resource, {}).get((namespace, name))

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        found = self.find(resource, namespace, name)
        if found is None:
            raise not_found(resource, name)
        return found

    def all_of(self, resource: Resource, namespace: str = "") -> list[Object]:
        """In the order of their keys; without a namespace, those of all."""
        kept = sorted(self._objects.get(resource, {}).items())
        return [item for (place, _), item in kept if not namespace or place == namespace]

    def everything(self) -> Iterator[tuple[Resource, Object]]:
        for resource, kept in list(self._objects.items()):
            for item in list(kept.values()):
                yield resource, item

    def create(self, resource: Resource, item: Object) -> Object:
        """The new object, with what the server gives it: uid, time and version."""
        if self.find(resource, *key_of(item)):
            raise already_exists(resource, item["metadata"]["name"])
        item = copy.deepcopy(item)
        item["metadata"].setdefault("uid", str(uuid.uuid4()))
        item["metadata"]["creationTimestamp"] = stamp()
        if "spec" in item and resource.has_status:
            item["metadata"]["generation"] = 1
        return self._put(resource, "ADDED", None, item)

    def change(self, resource: Resource, item: Object, edit: Callable[[Object], object]) -> Object:
        """The newest state of an object, edited; where nothing changes, no version is spent."""
        before = self.get(resource, *key_of(item))
        after = copy.deepcopy(before)
        edit(after)
        return self.replace(resource, after)

    def replace(self, resource: Resource, item: Object) -> Object:
        """Another state of an object that exists. A changed spec raises its generation."""
        before = self.get(resource, *key_of(item))
        if item == before:
            return before
        item = copy.deepcopy(item)
        if resource.has_status and item.get("spec") != before.get("spec"):
            item["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1
        return self._put(resource, "MODIFIED", before, item)

    def remove(self, resource: Resource, item: Object) -> Object:
        before = self.get(resource, *key_of(item))
        return self._put(resource, "DELETED", before, copy.deepcopy(before))

    def since(self, version: int) -> list[Change]:
        """What changed after a version.

        Raises:
            ApiError: 410, history does not reach back so far.
        """
        if version < self.compacted:
            raise expired(version, self.compacted)
        return self._history[max(0, version - self.compacted) :]

    def compact(self) -> None:
        """Forget all history."""
        self._history.clear()
        self.compacted = self.version

    async def moved(self) -> None:
        """Return at the next change, or the next `wake`."""
        await self._moved.wait()

    def wake(self) -> None:
        """Let everybody who waits for a change look again."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _put(
        self, resource: Resource, type_: Literal["ADDED", "MODIFIED", "DELETED"], before: Object | None, after: Object
    ) -> Object:
        self.version += 1
        after["metadata"]["resourceVersion"] = str(self.version)
        kept = self._objects.setdefault(resource, {})
        if type_ == "DELETED":
            del kept[key_of(after)]
        else:
            kept[key_of(after)] = after
        self._history.append(Change(self.version, resource, type_, before, after))
        self.wake()
        return after
