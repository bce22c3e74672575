"""Trouble that lasts, in two lines of the log: when it begins, and when it is over."""

import structlog

QUIET_S = 3.0
"""It is over when nothing has failed for so long: some calls may work while others do not."""
AGAIN_S = 30.0
"""What has begun so lately is not said to begin once more."""

log = structlog.get_logger()


class Trouble:
    """One kind of it, by the events that tell of its beginning and its end."""

    def __init__(self, begins: str, ends: str) -> None:
        self._begins = begins
        self._ends = ends
        self._since: float | None = None
        self._failed_at = 0.0
        self._silent_until = 0.0

    def failed(self, now: float, **what: object) -> None:
        """A call has failed at `now`, a time of the monotonic clock."""
        self._failed_at = now
        if self._since is None and now >= self._silent_until:
            self._since = now
            self._silent_until = now + AGAIN_S
            log.warning(self._begins, **what)

    def worked(self, now: float) -> None:
        """A call has worked."""
        if self._since is not None and now - self._failed_at >= QUIET_S:
            log.info(self._ends, after_s=round(self._failed_at - self._since, 1))
            self._since = None
