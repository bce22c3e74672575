"""What follows the end of an attempt."""

import pytest

from services.runner.conclusion import SHORT_LIFE_S, conclude, pause_s
from shared.contract import Ended, Failed, Failure, Launch, Reason
from tests.launching import a_launch


@pytest.mark.parametrize("reason", [Reason.COMPLETED, Reason.LEFT, Reason.MAX_DURATION])
def test_a_bot_that_ended_as_it_should_ends_its_session(reason: Reason) -> None:
    launch = a_launch()
    assert conclude(launch, reason, "", 3) == Ended(session_id=launch.session_id, attempt=1, reason=reason)


@pytest.mark.parametrize(
    "reason", [Reason.BOT_DIED, Reason.JOIN_TIMEOUT, Reason.JOIN_FAILED, Reason.RUNNER_LOST, Reason.LEASE_LOST]
)
def test_a_bot_that_did_not_is_replaced_and_told_why(reason: Reason) -> None:
    following = conclude(a_launch(), reason, "why", 3)
    assert isinstance(following, Launch)
    assert following.attempt == 2
    assert following.failures == (Failure(attempt=1, reason=reason, message="why"),)


@pytest.mark.parametrize("reason", [Reason.BOT_ERROR, Reason.BOT_IMPORT_ERROR, Reason.NO_CLIENT])
def test_what_another_attempt_would_not_change_fails_at_once(reason: Reason) -> None:
    launch = a_launch()
    failed = Failed(session_id=launch.session_id, attempt=1, reason=reason, message="why")
    assert conclude(launch, reason, "why", 3) == failed


def test_the_last_attempt_that_is_allowed_fails_the_session() -> None:
    following: Launch | Ended | Failed = a_launch()
    for attempt in (1, 2, 3):
        assert isinstance(following, Launch)
        assert following.attempt == attempt
        following = conclude(following, Reason.BOT_DIED, "", 3)
    assert isinstance(following, Failed)
    assert following.attempt == 3


def test_a_runner_that_was_stopped_does_not_use_up_an_attempt() -> None:
    following: Launch | Ended | Failed = a_launch()
    for _ in range(10):
        assert isinstance(following, Launch)
        following = conclude(following, Reason.RUNNER_STOPPED, "", 3)
    assert isinstance(following, Launch)
    assert following.attempt == 11


def test_a_bot_that_died_young_is_replaced_after_an_ever_longer_pause() -> None:
    pauses = [pause_s(attempt, 0.1) for attempt in range(1, 12)]
    assert 0 < pauses[0] < 1
    assert pauses == sorted(pauses)
    assert pauses[-1] == pauses[-2] == 5.0


def test_a_bot_that_lived_is_replaced_at_once() -> None:
    assert pause_s(1, SHORT_LIFE_S) == 0
