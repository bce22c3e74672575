"""What the assistant answers without a language model."""

from datetime import UTC, datetime

import pytest

from services.runner.bots.offline_answers import NO_MODEL, answer

NOW = datetime(2026, 11, 23, 17, 5, tzinfo=UTC)


def said(heard: str, now: datetime = NOW) -> str:
    return answer(heard, name="Ada", now=now)


@pytest.mark.parametrize(
    ("heard", "total"),
    [
        ("what is seven times six", "seven times six is forty two."),
        ("What's 12 + 30?", "twelve plus thirty is forty two."),
        ("two plus two times three", "two plus two times three is eight."),
        ("a hundred and five minus six", "one hundred and five minus six is ninety nine."),
        ("twenty-one over 4", "twenty one divided by four is five point two five."),
        ("ten divided by three", "ten divided by three is about three point three three."),
        ("3 - 5", "three minus five is minus two."),
        ("1.5 + 2", "one point five plus two is three point five."),
        ("2999 divided by 1000", "two thousand nine hundred and ninety nine divided by one thousand is about three."),
        ("nine divided by zero", "Nothing can be divided by zero."),
        ("9" * 400 + " times 2", "That is more than I can say."),
    ],
)
def test_a_sum_is_solved_in_words(heard: str, total: str) -> None:
    assert said(heard) == total


@pytest.mark.parametrize(
    ("hour", "minute", "told"),
    [
        (0, 0, "It is twelve o'clock in the morning."),
        (9, 30, "It is nine thirty in the morning."),
        (12, 1, "It is twelve oh one in the afternoon."),
        (17, 59, "It is five fifty nine in the afternoon."),
        (23, 15, "It is eleven fifteen in the evening."),
    ],
)
def test_the_time_is_that_of_the_clock(hour: int, minute: int, told: str) -> None:
    assert said("what time is it", NOW.replace(hour=hour, minute=minute)) == told


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        ("what day is it today?", "Today is Monday, November 23."),
        ("Who are you?", f"I am Ada. {NO_MODEL}"),
        ("thank you very much", "You are welcome."),
        ("the weather is nice", f"I heard: the weather is nice. {NO_MODEL}"),
        ("seven", f"I heard: seven. {NO_MODEL}"),
        ("seven times", f"I heard: seven times. {NO_MODEL}"),
        ("9" * 5000, f"I heard: {'9' * 5000}. {NO_MODEL}"),
        ("  ", "I did not hear any words."),
        ("This call ends in about 60 seconds. Say so, and wrap up.", "Our time is almost over: 60 seconds are left."),
    ],
)
def test_anything_else_is_answered_truly(heard: str, told: str) -> None:
    assert said(heard) == told
