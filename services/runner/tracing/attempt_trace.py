"""The supervisor's spans of one attempt: its time in the queue, and from the claim to what follows its end.

What happens within, the session process knows better: its spans come over the pipe and are sent on from here, so that
one process of a runner talks to the collector, and a bot that dies takes nothing along that it has told.
"""

import time

import msgspec

from services.runner.pipe import Recorded
from shared.commands import Received, Unreadable, kind_of
from shared.contract import CLAIMS, Launch, Outcome, Reason, Reply, Start, launch_stream
from shared.launches import Claim
from shared.redis.entries import milliseconds
from shared.tracing import traces


class AttemptTrace:
    """Begun with the claim."""

    def __init__(self, claim: Claim, runner: str, start: Start) -> None:
        launch = claim.launch
        self._span = traces.Span(launch.traceparent)
        self._handing_over = self._span
        self._commands: dict[str, traces.Span] = {}
        self._session_id = launch.session_id
        if not traces.recorded():
            return
        now_ns = time.time_ns()
        # By the server's clock, which may be ahead of ours.
        queued_ns = min(milliseconds(claim.entry) * 1_000_000, now_ns)
        about: dict[str, traces.Value] = {traces.SESSION: launch.session_id, traces.ATTEMPT: launch.attempt}
        traces.start("queued", launch.traceparent, at_ns=queued_ns, attributes=about).end()
        stream = launch_stream(launch.agent, launch.attempt)
        self._span = traces.start(
            "session",
            launch.traceparent,
            kind="consumer",
            at_ns=now_ns,
            attributes={
                **traces.messaging("claim", stream, launch.session_id),
                "messaging.operation.type": "process",
                traces.ATTEMPT: launch.attempt,
                "messaging.message.id": claim.entry,
                "messaging.consumer.group.name": CLAIMS,
                "messaging.client.id": runner,
                "pipefleet.start": start,
                "pipefleet.agent": launch.agent,
                "pipefleet.transport": launch.transport,
            },
        )
        self._handing_over = traces.start("hand over", self._span.traceparent, at_ns=now_ns)

    def within(self, launch: Launch) -> Launch:
        """The launch, so that what it leads to is part of this attempt."""
        return msgspec.structs.replace(launch, traceparent=self._span.traceparent) if traces.recorded() else launch

    def handed_over(self) -> None:
        """The launch is on its way to its process."""
        self._handing_over.end()

    def in_room(self) -> None:
        """The bot is where it should be."""
        self._span.event("in room")

    def deliver(self, entry: str, command: Received) -> None:
        """A command is on its way to the bot; it is part of the trace of its own request."""
        if traces.recorded() and not isinstance(command, Unreadable):
            kind = kind_of(command)
            about = traces.messaging("deliver", "{bot}:commands", self._session_id)
            span = traces.start(f"deliver {kind}", command.traceparent, kind="consumer", attributes=about)
            span.set(traces.COMMAND, kind)
            self._commands[entry] = span

    def delivered(self, entry: str, reply: Reply) -> None:
        """What became of a command."""
        if span := self._commands.pop(entry, None):
            span.set(traces.OUTCOME, reply.outcome.value)
            span.end((reply.reason or reply.outcome).value if reply.outcome is Outcome.FAILED else "")

    def take(self, recorded: Recorded) -> None:
        """A span of the session process: send it on."""
        if traces.recorded():
            from services.runner.tracing.span_relay import relay  # noqa: PLC0415 - who has no collector does not pay for it

            relay(recorded)

    def over(self, reason: Reason, *, well: bool) -> None:
        """The attempt has come to its end."""
        self._span.set(traces.REASON, reason.value)
        self._span.end("" if well else reason.value)

    def close(self) -> None:
        """Whatever has not come to an end has been broken off."""
        for span in (self._handing_over, *self._commands.values()):
            span.end("broken off")
        self._span.end("broken off")
