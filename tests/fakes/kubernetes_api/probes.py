"""HTTP probes of a container: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/.

They are made more often than a spec says, so that a test learns soon that a Pod is ready; until one counts as failed it
takes as long as the spec says, `failureThreshold` times `periodSeconds`.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from tests.fakes.kubernetes_api.statuses import Object

LOOK_EVERY_S = 0.05


class UnhealthyError(Exception):
    """The startup or the liveness probe failed for too long: the container is to be killed."""


class Probe:
    """One probe of a spec; None succeeds always."""

    def __init__(self, spec: Object | None, port: int) -> None:
        self._spec = spec
        self._port = port
        self._good_at = time.monotonic() + (spec or {}).get("initialDelaySeconds", 0)

    async def succeeds(self) -> bool:
        """One look."""
        if self._spec is None:
            return True
        good: bool = await http_ok(self._port, self._spec["httpGet"]["path"], self._spec["timeoutSeconds"])
        if good:
            self._good_at = time.monotonic()
        return good

    def has_failed(self) -> bool:
        """Whether the last success is too long ago."""
        if self._spec is None:
            return False
        patience_s = self._spec["failureThreshold"] * self._spec["periodSeconds"]
        return bool(time.monotonic() - self._good_at > patience_s)


async def probe(container: Object, port: int, started: Callable[[], None], ready: Callable[[bool], None]) -> None:
    """Probe a container for as long as it lives; `started` is called once, `ready` whenever that turned.

    Raises:
        UnhealthyError: it is to be killed.
    """
    startup = Probe(container.get("startupProbe"), port)
    while not await startup.succeeds():
        if startup.has_failed():
            raise UnhealthyError("failed startup probe")
        await asyncio.sleep(LOOK_EVERY_S)
    started()
    readiness, liveness = Probe(container.get("readinessProbe"), port), Probe(container.get("livenessProbe"), port)
    was_ready = False
    while True:
        if await readiness.succeeds() != was_ready and (not was_ready or readiness.has_failed()):
            was_ready = not was_ready
            ready(was_ready)
        if not await liveness.succeeds() and liveness.has_failed():
            raise UnhealthyError("failed liveness probe")
        await asyncio.sleep(LOOK_EVERY_S)


async def http_ok(port: int, path: str, timeout_s: float) -> bool:
    """Whether a GET is answered with 200 to 399."""
    with suppress(OSError, TimeoutError, ValueError, IndexError):
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
                status = int((await reader.readline()).split()[1])
                return 200 <= status < 400
            finally:
                writer.close()
    return False
