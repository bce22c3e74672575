"""What follows the end of an attempt."""

from shared.contract import Ended, Failed, Failure, Launch, Reason
from shared.launches import after

SHORT_LIFE_S = 10.0
"""A bot that died younger than this is replaced after a pause, so that one that always dies does not spin."""
AS_IT_SHOULD = {Reason.COMPLETED, Reason.LEFT, Reason.MAX_DURATION}
"""Whatever else happens to the process of a bot that ends for one of these, its session has ended well."""


def conclude(launch: Launch, reason: Reason, message: str, max_attempts: int) -> Launch | Ended | Failed:
    """The next attempt, or the session's end."""
    if reason in AS_IT_SHOULD:
        return Ended(session_id=launch.session_id, attempt=launch.attempt, reason=reason)
    return after(launch, Failure(attempt=launch.attempt, reason=reason, message=message), max_attempts)


def pause_s(attempt: int, lived_s: float) -> float:
    """How long to wait before a dead bot is replaced: not at all, unless it died young."""
    return 0.0 if lived_s >= SHORT_LIFE_S else min(0.25 * 2 ** (attempt - 1), 5.0)
