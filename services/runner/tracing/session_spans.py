"""The spans of this process's session, from the launch to the first sound of its bot.

A process runs one session, so there is one of these. Where nobody records, nothing of it costs anything.
"""

from shared.contract import Launch
from shared.tracing import traces


class SessionSpans:
    """One step is under way at a time: the bot is started, enters its room, makes its first sound."""

    def __init__(self) -> None:
        self._step: traces.Span | None = None
        self._parent = ""
        self._arrived = self._heard = False

    def begin(self, launch: Launch) -> None:
        """The launch is here; a rehearsal's leaves no trace."""
        self._parent = launch.traceparent
        self._arrived = self._heard = False
        self._follow("start bot")

    def entered(self) -> None:
        """The bot's function is called now, and what it does is part of the trace."""
        if traces.recorded() and self._parent:
            from services.runner.tracing.bot_spans import continue_trace  # noqa: PLC0415 - who traces pays for it

            continue_trace(self._parent)
        if not self._arrived:
            self._follow("enter room")

    def arrived(self) -> None:
        """The bot is in its room."""
        self._arrived = True
        if not self._heard:
            self._follow("first audio")

    def spoke(self) -> None:
        """The bot makes a sound; only the first counts."""
        if not self._heard:
            self._heard = True
            if self._step:
                self._step.end()
                self._step = None

    def over(self) -> None:
        """Nothing follows. A bot that never made a sound has no first one."""
        if self._step and not self._arrived:
            self._step.end("never")
        self._step = None

    def _follow(self, step: str) -> None:
        if self._step:
            self._step.end()
        self._step = traces.start(step, self._parent)


spans = SessionSpans()
"""This process's."""
