"""The phases of a launch, from histories that a test makes up."""

import pytest

from services.operator.metrics.launch_phases import Phases, phases
from shared.contract import AnyEvent, ColdStart, Queued, Running, Starting
from shared.events import History


def queued(attempt: int = 1) -> Queued:
    return Queued(session_id="s", attempt=attempt, room_url="none://s", transport="webrtc", deadline_s=9.0)


def starting(attempt: int = 1) -> Starting:
    return Starting(session_id="s", attempt=attempt, runner="r", start="cold")


def running(attempt: int = 1, *, claimed_ago_s: float | None = 0.5, process_s: float | None = 0.2) -> Running:
    return Running(session_id="s", attempt=attempt, claimed_ago_s=claimed_ago_s, process_s=process_s)


COLD_START = ColdStart(session_id="s", attempt=1, launcher="process")


def history(*events: tuple[int, AnyEvent]) -> History:
    """Events at so many milliseconds."""
    return [(f"{at_ms}-0", event) for at_ms, event in events]


CASES = {
    "the phases add up to the way from queued to running": (
        history((1_000, queued()), (2_600, starting()), (3_000, running())),
        (1.5, 0.2, 0.3),
    ),
    "when a report was written does not matter": (
        history((1_000, queued()), (2_999, starting()), (3_000, running())),
        (1.5, 0.2, 0.3),
    ),
    "what is told of a cold start meanwhile does not matter": (
        history((1_000, queued()), (1_100, COLD_START), (2_600, starting()), (3_000, running())),
        (1.5, 0.2, 0.3),
    ),
    "a later attempt has a way of its own": (
        history((0, queued()), (10, starting()), (20, running()), (1_000, queued(2)), (1_001, starting(2)),
                (1_700, running(2))),
        (0.2, 0.2, 0.3),
    ),
    "no phase is negative where two clocks differ by a millisecond": (
        history((1_000, queued()), (1_000, starting()), (1_001, running(claimed_ago_s=0.0018, process_s=0.0016))),
        (0.0, 0.001, 0.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_phases_of_a_launch(name: str) -> None:
    made, expected = CASES[name]
    found = phases(made)
    assert isinstance(found, Phases)
    assert (found.start, found.transport) == ("cold", "webrtc")
    parts = (found.accept_to_claim, found.claim_to_process, found.process_to_room)
    assert parts == pytest.approx(expected)


@pytest.mark.parametrize(
    "made",
    [
        [],
        history((0, queued()), (1, starting())),
        history((1, starting()), (2, running())),
        history((0, queued()), (1, starting()), (2, running(2))),
        history((0, queued()), (1, starting()), (2, running(claimed_ago_s=None))),
        history((0, queued()), (1, starting()), (2, running(process_s=None))),
    ],
)
def test_of_a_way_that_is_not_known_nothing_is_made_up(made: History) -> None:
    assert phases(made) is None
