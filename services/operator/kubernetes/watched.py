"""A copy of what the cluster has of one kind of object, kept up to date by a watch.

The copy is listed once, then every change arrives. Connections end, servers restart, and versions become too old to go
on from: then the watch goes on where it was, or lists again; what had gone meanwhile is told as deleted, as it was seen
last.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

import structlog

from services.operator.kubernetes.cluster import Cluster, ClusterError, Json, Kind
from shared.redis.connection import backoff_s

WATCH_S = 60
"""How long one watch lasts; it then goes on from the same version, so a dead connection cannot hide for long."""
SILENCE_S = WATCH_S + 15.0
EXPIRED = 410

Changed: TypeAlias = Callable[[Json, bool], None]
"""Told of an object that is new or has changed; or, with True, that it is gone."""

log = structlog.get_logger()


class Watched:
    """The objects of one kind that a selector finds, by name."""

    def __init__(self, cluster: Cluster, kind: Kind, selector: Mapping[str, str], changed: Changed) -> None:
        self.objects: dict[str, Json] = {}
        self.listed = asyncio.Event()
        """Set once the copy is complete."""
        self.error: ClusterError | None = None
        """Why it is not, or may be old."""
        self._cluster = cluster
        self._kind = kind
        self._selector = dict(selector)
        self._changed = changed
        self._version = ""
        self._failures = 0

    async def run(self) -> None:
        """Keep the copy until cancelled."""
        while True:
            began = time.monotonic()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except ClusterError as error:
                self._note(error)
            else:
                self._note_answer()
            if self._failures or time.monotonic() - began < 1.0:
                await asyncio.sleep(backoff_s(self._failures))

    async def _list(self) -> None:
        found = await self._cluster.list(self._kind, self._selector)
        self._version = found["metadata"]["resourceVersion"]
        objects = {item["metadata"]["name"]: item for item in found["items"]}
        before, self.objects = self.objects, objects
        self.listed.set()
        self._note_answer()
        for name, item in before.items():
            if name not in objects or objects[name]["metadata"].get("uid") != item["metadata"].get("uid"):
                self._changed(item, True)
        for item in objects.values():
            self._changed(item, False)

    async def _watch(self) -> None:
        query = {
            **self._selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_S),
        }
        async with self._cluster.watch(self._kind, query, SILENCE_S) as events:
            async for event in events:
                self._note_answer()
                self._take(event.type, event.object)

    def _take(self, what: str, item: Json) -> None:
        self._version = item["metadata"]["resourceVersion"]
        name = item["metadata"].get("name", "")
        if what == "BOOKMARK":
            return
        if what == "DELETED":
            self.objects.pop(name, None)
        else:
            self.objects[name] = item
        self._changed(item, what == "DELETED")

    def _note_answer(self) -> None:
        self.error = None
        self._failures = 0

    def _note(self, error: ClusterError) -> None:
        if error.status == EXPIRED:
            self._version = ""
            return
        self.error = error
        self._failures += 1
        if self._failures == 1:
            log.warning("watch_interrupted", kind=self._kind, status=error.status, error=str(error))
