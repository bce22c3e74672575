"""What goes on in this process's session, on its way to the supervisor: never more than so much, whatever the bot does.

A process runs one session, so there is one outlet. It knows nothing of Pipecat, which a bot may import late or never.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from services.runner.allowance import Allowance
from services.runner.pipe import Happened
from shared.contract import AnyActivity, Launch

PER_S = 20.0
AT_ONCE = 60
"""What a session may tell: so much per second, and so much at once."""
SPEECH_PER_S = 2.0
SPEECH_AT_ONCE = 10
"""The same for stretches of speech of both sides together."""
LONGEST_TEXT = 2_000
"""Characters of what was said or complained of that are told."""
LONGEST_NAME = 200
"""The same of what participants are called."""


class Outlet:
    """The way out. What is told before a session has begun is told to nobody."""

    def __init__(self) -> None:
        self.whose: dict[str, Any] = {"session_id": "", "attempt": 0}
        """The fields that all of it has in common."""
        self.transcripts = False
        """Whether what is said may be told."""
        self._send: Callable[[Happened], None] | None = None
        self._allowance = Allowance(PER_S, AT_ONCE)
        self._dropped = 0

    def open(self, launch: Launch, send: Callable[[Happened], None], *, transcripts: bool) -> None:
        """From now on it leads there."""
        self.whose = {"session_id": launch.session_id, "attempt": launch.attempt}
        self.transcripts = transcripts
        self._send = send

    def tell(self, activity: AnyActivity, cost: int = 1) -> bool:
        """Tell it, unless too much was told lately: then it is counted. What costs nothing is always told."""
        now = time.monotonic()
        if self._send is None:
            return False
        if not self._allowance.take(now, cost):
            self._dropped += 1
            return False
        self._send(Happened(at=now, activity=msgspec.structs.replace(activity, dropped=self._dropped)))
        self._dropped = 0
        return True


outlet = Outlet()
"""This process's."""
