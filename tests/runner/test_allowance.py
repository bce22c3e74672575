"""How much may be told."""

import pytest

from services.runner.allowance import Allowance


@pytest.mark.parametrize(
    ("asked_at", "counts", "given"),
    [
        ([0, 0, 0, 0], [1, 1, 1, 1], [True, True, True, False]),
        ([0, 0, 0.5, 1.0], [3, 1, 1, 1], [True, False, True, True]),
        ([0, 100, 100], [1, 3, 1], [True, True, False]),
        ([0, 0, 0], [3, 0, 1], [True, True, False]),
        ([5, 4, 4], [3, 1, 0], [True, False, True]),
    ],
    ids=[
        "a burst",
        "it comes back with time",
        "it is never more than a burst",
        "nothing is always left",
        "back in time",
    ],
)
def test_an_allowance_gives_what_is_left_of_it(asked_at: list[float], counts: list[int], given: list[bool]) -> None:
    allowance = Allowance(per_s=2, at_once=3)
    assert [allowance.take(now, count) for now, count in zip(asked_at, counts, strict=True)] == given
