"""How long a launch took on its way to a bot in its room, as its session's history has it."""

from dataclasses import dataclass

from shared.contract import Queued, Running, Start, Starting, Transport
from shared.entries import milliseconds
from shared.events import History


@dataclass(frozen=True)
class Phases:
    """One attempt's, in seconds; together they are the time from `queued` to `running`.

    The last two are None where the runner is older than they are.
    """

    start: Start
    transport: Transport
    accept_to_claim: float
    claim_to_process: float | None = None
    process_to_room: float | None = None


def phases(history: History) -> Phases | None:
    """Of the attempt whose `running` comes last; None if what led to it is not there."""
    in_room, running = history[-1] if history else ("", None)
    if not isinstance(running, Running):
        return None
    accepted = claimed = 0
    queued: Queued | None = None
    starting: Starting | None = None
    for entry, event in history:
        if event.attempt != running.attempt:
            continue
        if isinstance(event, Queued):
            accepted, queued = milliseconds(entry), event
        elif isinstance(event, Starting):
            claimed, starting = milliseconds(entry), event
    if not (queued and starting):
        return None
    waited_s = (claimed - accepted) / 1000
    if running.process_s is None:
        return Phases(starting.start, queued.transport, waited_s)
    whole_s = (milliseconds(in_room) - claimed) / 1000
    # By two clocks, of the runner and of Redis: neither part is more than the whole.
    process_s = min(running.process_s, whole_s)
    return Phases(starting.start, queued.transport, waited_s, process_s, whole_s - process_s)
