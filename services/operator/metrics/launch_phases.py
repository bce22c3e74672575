"""How long a launch took on its way to a bot in its room, as its session's history has it."""

from dataclasses import dataclass

from shared.contract import Queued, Running, Start, Starting, Transport
from shared.events import History
from shared.redis.entries import milliseconds


@dataclass(frozen=True)
class Phases:
    """One attempt's, in seconds; together they are the time from `queued` to `running`."""

    start: Start
    transport: Transport
    accept_to_claim: float
    claim_to_process: float
    process_to_room: float


def phases(history: History) -> Phases | None:
    """Of the attempt whose `running` comes last; None if what led to it is not there, or its runner is too old."""
    in_room, running = history[-1] if history else ("", None)
    if not isinstance(running, Running) or running.claimed_ago_s is None or running.process_s is None:
        return None
    accepted, queued, starting = "", None, None
    for entry, event in history:
        if event.attempt != running.attempt:
            continue
        if isinstance(event, Queued):
            accepted, queued = entry, event
        elif isinstance(event, Starting):
            starting = event
    if not (queued and starting):
        return None
    whole_s = (milliseconds(in_room) - milliseconds(accepted)) / 1000
    # By two clocks, the runner's and that of Redis: no part is more than the whole.
    claimed_s = min(running.claimed_ago_s, whole_s)
    process_s = min(running.process_s, claimed_s)
    return Phases(starting.start, queued.transport, whole_s - claimed_s, process_s, claimed_s - process_s)
