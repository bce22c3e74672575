"""Sessions of runners whose Pod is gone, or whose container ended.

A Pod that was deleted, evicted or killed takes its runner along, often so fast that nothing of it can hand its sessions
back. Where the API has seen the containers end, their leases are freed at once. Where it has not, because the object
was removed by force or the node is lost, the bot may still be in its room, and its lease is left to go stale.

A container that ended and was started again has the same host name. What began before its end is gone: both times are
of the node's one clock. Mended within a second of the Pod's status.
"""

import asyncio

import structlog

from services.operator.kubernetes.cluster import Json
from services.operator.kubernetes.pod_states import runner_end, surely_gone, why_gone
from shared.errors import Unavailable
from shared.sweep import Gone, Sweep

AGAIN_S = 1.0
"""When it did not work, as while Redis does not answer."""

log = structlog.get_logger()


def what_is_gone(pod: Json, deleted: bool) -> Gone | None:
    """Which processes of a Pod are gone for certain."""
    if surely_gone(pod, deleted):
        return Gone(why_gone(pod))
    end = runner_end(pod)
    return Gone(end.why, before=end.at) if end else None


class GonePods:
    """Takes note of Pods, and frees the leases of those that are gone."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._noted: dict[str, Gone] = {}
        self._gone: dict[str, Gone] = {}
        self._news = asyncio.Event()

    def note(self, pod: Json, deleted: bool) -> None:
        """Something about a Pod is new; or, with `deleted`, the last that was seen of it."""
        name = pod["metadata"]["name"]
        gone = what_is_gone(pod, deleted)
        if gone and gone != self._noted.get(name):
            self._noted[name] = self._gone[name] = gone
            self._news.set()
        if deleted:
            self._noted.pop(name, None)

    async def run(self) -> None:
        """Free what there is to free until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            gone, self._gone = self._gone, {}
            try:
                await self._sweep.release(gone)
            except Unavailable:
                await self._again(gone)
            except Exception:
                # Such as a server that was emptied between two calls; it must not end the operator.
                log.exception("leases_not_freed")
                await self._again(gone)

    async def _again(self, gone: dict[str, Gone]) -> None:
        self._gone = {**gone, **self._gone}
        self._news.set()
        await asyncio.sleep(AGAIN_S)
