"""What the overflow needs of whatever starts cold runners."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ending:
    """How a cold runner came to its end; `error` is empty when it was as it should be."""

    error: str = ""


class ColdRunner(Protocol):
    """One runner in auto-start mode. It takes whatever launch waits longest, not always the one it was started for."""

    @property
    def ending(self) -> Ending | None:
        """None as long as it lives."""


class LaunchError(Exception):
    """A cold runner could not be started; the text is for people."""


class Launcher(Protocol):
    """Starts cold runners and knows how many there are."""

    @property
    def name(self) -> str:
        """How events and logs call it."""

    def alive(self) -> int:
        """How many of its runners have not ended."""

    async def start(self, session_id: str, attempt: int, ended: Callable[[], None]) -> ColdRunner:
        """Start one for this attempt; `ended` is called when it has.

        Raises:
            LaunchError: it did not start.
        """
