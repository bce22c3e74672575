"""Why an attempt ended, and what follows."""

from services.runner.pipe import Over
from services.runner.settings import RunnerSettings
from shared.contract import Ended, Failed, Failure, Launch, Reason
from shared.launches import after

SHORT_LIFE_S = 10.0
"""A bot that died younger than this is replaced after a pause, so that one that always dies does not spin."""


def verdict(ordered: Reason | None, over: Over | None, exited: str, settings: RunnerSettings) -> tuple[Reason, str]:
    """Why an attempt ended: what its runner ordered, else what its process said, else how that exited.

    A bot that had come to its end before it heard that its runner stops needs no other in its place.
    """
    if ordered and not (ordered is Reason.RUNNER_STOPPED and over and over.reason is Reason.COMPLETED):
        within_s = settings.join_timeout_s
        told = {
            Reason.JOIN_TIMEOUT: f"the bot was not in its room within {within_s:g} s",
            Reason.NO_CLIENT: f"no WebRTC client made an offer within {within_s:g} s",
            Reason.LEASE_LOST: "the runner could not renew its lease",
            Reason.MEMORY_LIMIT: f"the bot used more than {settings.session_memory_mb} MiB of private memory",
        }
        return ordered, told.get(ordered, "")
    if over:
        return over.reason, over.message
    return Reason.BOT_DIED, f"the bot's process {exited}"


def conclude(launch: Launch, reason: Reason, message: str, max_attempts: int) -> Launch | Ended | Failed:
    """The next attempt, or the session's end."""
    if reason.well:
        return Ended(session_id=launch.session_id, attempt=launch.attempt, reason=reason)
    return after(launch, Failure(attempt=launch.attempt, reason=reason, message=message), max_attempts)


def pause_s(attempt: int, lived_s: float) -> float:
    """How long to wait before a dead bot is replaced: not at all, unless it died young."""
    return 0.0 if lived_s >= SHORT_LIFE_S else min(0.25 * 2 ** (attempt - 1), 5.0)
