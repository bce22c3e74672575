from typing import Any

import pytest

from services.gateway.session_views import timeline
from services.gateway.sessions import Session, fold
from shared.contract import (
    AnyEvent,
    ColdStart,
    Ended,
    Failed,
    Leaving,
    Queued,
    Reason,
    Running,
    Starting,
    Status,
)

FIRST = Queued(
    session_id="s",
    attempt=1,
    room_url="https://example.daily.co/room",
    transport="daily",
    deadline_s=120,
    labels={"team": "a"},
)
SECOND = Queued(
    session_id="s",
    attempt=2,
    room_url=FIRST.room_url,
    transport="daily",
    deadline_s=120,
    labels={"team": "a"},
    reason=Reason.BOT_DIED,
    message="signal 9",
)
NO_IMAGE = ColdStart(session_id="s", attempt=1, launcher="process", error="no image")
COLD = ColdStart(session_id="s", attempt=1, launcher="process")
STARTING = Starting(session_id="s", attempt=1, runner="r1", start="warm")
RUNNING = Running(session_id="s", attempt=1)
LEAVING = Leaving(session_id="s", attempt=1, reason=Reason.LEFT)
NOT_IN_ROOM = Leaving(session_id="s", attempt=1, reason=Reason.JOIN_TIMEOUT)
ENDED = Ended(session_id="s", attempt=1, reason=Reason.LEFT)
FAILED = Failed(session_id="s", attempt=1, reason=Reason.BOT_ERROR, message="ValueError: no")


def folded(*events: AnyEvent) -> Session:
    session = fold([(f"{1_000 * i}-0", event) for i, event in enumerate(events, 1)])
    assert session
    return session


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((FIRST,), {"status": Status.QUEUED, "attempt": 1, "launch": "1000-0", "runner": None, "start": None}),
        ((FIRST, COLD), {"status": Status.QUEUED, "message": ""}),
        ((FIRST, NO_IMAGE), {"status": Status.QUEUED, "message": "no image", "reason": None}),
        ((FIRST, STARTING), {"status": Status.STARTING, "runner": "r1", "start": "warm"}),
        ((FIRST, NO_IMAGE, STARTING), {"status": Status.STARTING, "message": ""}),
        ((FIRST, STARTING, NO_IMAGE), {"status": Status.STARTING, "message": ""}),
        ((FIRST, STARTING, RUNNING), {"status": Status.RUNNING, "ended_at": None}),
        ((FIRST, STARTING, RUNNING), {"leaving": False}),
        ((FIRST, STARTING, RUNNING, LEAVING), {"status": Status.RUNNING, "reason": None, "leaving": True}),
        ((FIRST, STARTING, NOT_IN_ROOM), {"status": Status.STARTING, "leaving": False}),
        ((FIRST, STARTING, LEAVING, SECOND), {"status": Status.QUEUED, "leaving": False}),
        ((FIRST, STARTING, SECOND, LEAVING), {"status": Status.QUEUED, "leaving": False}),
        ((FIRST, STARTING, RUNNING, LEAVING, FAILED), {"status": Status.FAILED, "leaving": False}),
        ((FIRST, ENDED), {"status": Status.ENDED, "reason": Reason.LEFT, "runner": None}),
        (
            (FIRST, STARTING, RUNNING, LEAVING, ENDED),
            {
                "status": Status.ENDED,
                "leaving": False,
                "reason": Reason.LEFT,
                "runner": "r1",
                "ended_at": "1970-01-01T00:00:05.000Z",
            },
        ),
        (
            (FIRST, STARTING, FAILED),
            {"status": Status.FAILED, "reason": Reason.BOT_ERROR, "message": "ValueError: no"},
        ),
        (
            (FIRST, STARTING, RUNNING, SECOND),
            {
                "status": Status.QUEUED,
                "attempt": 2,
                "reason": Reason.BOT_DIED,
                "message": "signal 9",
                "launch": "4000-0",
                "runner": None,
                "start": None,
                "created_at": "1970-01-01T00:00:01.000Z",
            },
        ),
        (
            (FIRST, STARTING, SECOND, Starting(session_id="s", attempt=2, runner="r2", start="cold")),
            {"status": Status.STARTING, "attempt": 2, "reason": None, "message": "", "runner": "r2", "start": "cold"},
        ),
        ((FIRST, ENDED, COLD), {"status": Status.ENDED, "reason": Reason.LEFT}),
    ],
)
def test_a_session_is_the_fold_of_its_events(events: tuple[AnyEvent, ...], expected: dict[str, Any]) -> None:
    session = folded(*events)
    assert {name: getattr(session, name) for name in expected} == expected
    assert (session.session_id, session.transport, session.labels) == ("s", "daily", {"team": "a"})


@pytest.mark.parametrize("reason", list(Reason))
def test_a_bot_is_leaving_for_good_when_its_session_ends_with_that(reason: Reason) -> None:
    leaving = Leaving(session_id="s", attempt=1, reason=reason)
    assert folded(FIRST, STARTING, leaving).leaving is (reason in {Reason.LEFT, Reason.MAX_DURATION, Reason.NO_CLIENT})


@pytest.mark.parametrize("history", [[], [("1-0", RUNNING)]])
def test_without_its_beginning_there_is_no_session(history: list[tuple[str, AnyEvent]]) -> None:
    assert fold(history) is None


def test_the_timeline_has_type_time_and_what_else_the_event_says() -> None:
    assert timeline([("1000-0", STARTING), ("1001-3", ENDED)]) == [
        {"type": "starting", "at": "1970-01-01T00:00:01.000Z", "attempt": 1, "runner": "r1", "start": "warm"},
        {"type": "ended", "at": "1970-01-01T00:00:01.001Z", "attempt": 1, "reason": "left"},
    ]
