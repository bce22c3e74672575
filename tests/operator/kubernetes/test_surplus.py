"""Which Jobs are too many: never one that a waiting launch needs, and the same ones whoever looks."""

from typing import Any

import pytest

from services.operator.kubernetes.jobs import job_of, surplus


def job(name: str, made_at: int, *, over: bool = False) -> Any:
    conditions = [{"type": "Complete", "status": "True"}] if over else []
    made = f"2026-01-01T00:00:{made_at:02}Z"
    return {"metadata": {"name": name, "creationTimestamp": made}, "status": {"conditions": conditions}}


JOBS = [job("a", 1), job("b", 2), job("c", 3), job("d", 3)]
ALL = {"a", "b", "c", "d"}


@pytest.mark.parametrize(
    ("jobs", "pending", "waiting", "cold_max", "away"),
    [
        pytest.param(JOBS, ALL, 4, 9, [], id="as many as wait are needed"),
        pytest.param(JOBS, ALL, 7, 9, [], id="too few are not too many"),
        pytest.param(JOBS, ALL, 3, 9, ["d"], id="the newest goes first, and of two the one with the later name"),
        pytest.param(JOBS, ALL, 1, 9, ["d", "c", "b"], id="the oldest stays"),
        pytest.param(JOBS, ALL, 0, 9, ["d", "c", "b", "a"], id="without a launch none is needed"),
        pytest.param(JOBS, {"a", "c"}, 1, 9, ["c"], id="one that has begun is left alone"),
        pytest.param(JOBS, {"b"}, 1, 9, [], id="nor does it count, for it may have a session by now"),
        pytest.param(JOBS, ALL, 4, 2, ["d", "c"], id="more than there may be are deleted though launches wait"),
        pytest.param(JOBS, {"a"}, 4, 2, ["a"], id="but not those that have begun"),
        pytest.param([*JOBS, job("e", 9, over=True)], ALL, 4, 4, [], id="one that is over does not count"),
    ],
)
def test_which_jobs_are_too_many(jobs: list[Any], pending: set[str], waiting: int, cold_max: int, away: Any) -> None:
    assert surplus(jobs, pending=pending, waiting=waiting, cold_max=cold_max) == away
    assert surplus(reversed(jobs), pending=pending, waiting=waiting, cold_max=cold_max) == away


def test_a_pods_name_tells_its_job() -> None:
    assert job_of("cold-0123456789-1-2-x2x4z") == "cold-0123456789-1-2"
