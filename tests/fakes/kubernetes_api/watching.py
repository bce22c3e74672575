"""One running watch: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.

An object that comes to match the selectors is ADDED, one that no longer does is DELETED. Without a version, or with
"0", what is there comes first, as ADDED. Bookmarks come only to those who allow them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tests.fakes.kubernetes_api.resources import Resource
from tests.fakes.kubernetes_api.selecting import Selector
from tests.fakes.kubernetes_api.statuses import ApiError, Object, expired
from tests.fakes.kubernetes_api.store import Change, Store

Command: TypeAlias = Literal["bookmark", "end", "expire", "cut", "cut_in_a_line"]
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class CutError(Exception):
    """The connection is to be cut; `in_a_line` after half of one."""

    def __init__(self, *, in_a_line: bool) -> None:
        super().__init__()
        self.in_a_line = in_a_line


@dataclass(eq=False)
class Watch:
    """What is watched, and what the test does to it."""

    resource: Resource
    namespace: str
    selected: Selector
    bookmarks: bool
    timeout_s: float | None
    initial_events_end: bool = False
    """Whether a bookmark says where the initial objects end (`sendInitialEvents`)."""
    commands: deque[Command] = field(default_factory=deque)

    async def run(self, store: Store, version: int | None, send: Callable[[Object], Awaitable[None]]) -> None:
        """Send events from this version on, None for what is there, until the time is over.

        Raises:
            CutError: the test wants it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timeout_s):
                try:
                    await self._follow(store, version, send)
                except ApiError as error:
                    await send({"type": "ERROR", "object": error.status()})
                    return
        if self.bookmarks:
            await send(self._bookmark(store.version))

    async def _follow(self, store: Store, version: int | None, send: Callable[[Object], Awaitable[None]]) -> None:
        if version is None:
            version = store.version
            for event in self._initial(store):
                await send(event)
        while True:
            for change in store.since(version):
                version = change.version
                for event in self._seen(change):
                    await send(event)
            while self.commands:
                await self._obey(self.commands.popleft(), version, store, send)
            if version == store.version:
                await store.moved()

    def _initial(self, store: Store) -> list[Object]:
        """What is there, all at one version."""
        found = [item for item in store.all_of(self.resource, self.namespace) if self.selected(item)]
        events: list[Object] = [{"type": "ADDED", "object": item} for item in found]
        if self.initial_events_end:
            events.append(self._bookmark(store.version, {INITIAL_EVENTS_END: "true"}))
        return events

    async def _obey(
        self, command: Command, version: int, store: Store, send: Callable[[Object], Awaitable[None]]
    ) -> None:
        match command:
            case "bookmark":
                if self.bookmarks:
                    await send(self._bookmark(version))
            case "end":
                raise TimeoutError
            case "expire":
                raise expired(version, store.version)
            case "cut" | "cut_in_a_line":
                raise CutError(in_a_line=command == "cut_in_a_line")

    def _seen(self, change: Change) -> Iterator[Object]:
        """What a change is, seen through the selectors."""
        namespace = change.after["metadata"].get("namespace", "")
        if change.resource is not self.resource or self.namespace not in {"", namespace}:
            return
        was = change.before is not None and self.selected(change.before)
        is_now = change.type != "DELETED" and self.selected(change.after)
        if was or is_now:
            type_ = "MODIFIED" if was and is_now else "ADDED" if is_now else "DELETED"
            yield {"type": type_, "object": change.after}

    def _bookmark(self, version: int, annotations: Object | None = None) -> Object:
        metadata = {"resourceVersion": str(version), "creationTimestamp": None}
        return {
            "type": "BOOKMARK",
            "object": {
                "kind": self.resource.kind,
                "apiVersion": self.resource.api_version,
                "metadata": metadata | ({"annotations": annotations} if annotations else {}),
            },
        }
