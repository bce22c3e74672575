"""What the overflow needs of whatever starts cold runners."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shared.contract import ColdStage


@dataclass(frozen=True)
class Trouble:
    """Why a cold runner does not come up, or how it died: a word for machines, and a text for people."""

    reason: str
    message: str
    patience: bool = False
    """It may come up yet, and a new one would fare no better."""


@dataclass(frozen=True)
class Outlook:
    """What is to be expected of a cold runner."""

    coming: bool = True
    """Whether it may still take the launch it was started for. It has not, if it took another one, or has ended."""
    stage: ColdStage = "created"
    trouble: Trouble | None = None


class ColdRunner(Protocol):
    """One runner in auto-start mode. It takes whatever launch waits longest, not always the one it was started for."""

    @property
    def outlook(self) -> Outlook:
        """As of this moment."""


class LaunchError(Exception):
    """A cold runner could not be started; the text is for people, `reason` for machines.

    With `passing` the same may succeed later, however often it failed, but not before `retry_after_s`.
    """

    def __init__(self, message: str, reason: str, *, passing: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.passing = passing
        self.retry_after_s = retry_after_s


class Launcher(Protocol):
    """Starts cold runners and knows how many there are."""

    @property
    def name(self) -> str:
        """How events and logs call it."""

    async def look(self) -> None:
        """Find out how things are; `room` and every outlook are as of then.

        Raises:
            Unavailable: Redis does not answer.
        """

    def room(self) -> int:
        """How many more cold runners may be started, and are needed."""

    def find(self, session_id: str, attempt: int) -> ColdRunner | None:
        """One that was started for this attempt by somebody else, and may still take it."""

    async def start(self, session_id: str, attempt: int, changed: Callable[[], None]) -> ColdRunner:
        """Start one for this attempt; `changed` is called when there is something new about any cold runner.

        Raises:
            LaunchError: it did not start.
        """
