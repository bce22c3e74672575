"""The fault matrix: one fleet for each row, which is struck in each state of its sessions in turn."""

import pytest

from tests.faults.conftest import StartBench, Tell
from tests.faults.matrix import HEAD, PHASES, ROWS, SHORT_FORM, Fault, Target

COLD = {"LAUNCHER": "process", "COLD_MAX": "2", "OVERFLOW_GRACE": "0.2"}
"""The operator is struck while it has cold runners to look after."""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("target", "fault"), [pytest.param(*row, id=" ".join(row)) for row in ROWS])
async def test_whatever_is_struck_no_call_is_lost_or_doubled_and_nothing_is_left_over(
    bench_of: StartBench, tell: Tell, target: Target, fault: Fault
) -> None:
    env = COLD if target == "operator" else {}
    async with bench_of(cabled=target == "cable", **env) as bench:
        for phase in PHASES:
            row = await bench.case(target, fault, phase)
            tell(row.line(), HEAD)
            assert row.complaints() == []


async def test_a_fleet_that_is_struck_again_and_again_loses_and_doubles_no_call(
    bench_of: StartBench, tell: Tell
) -> None:
    async with bench_of(cabled=True) as bench:
        for case in SHORT_FORM:
            row = await bench.case(*case)
            tell(row.line(), HEAD)
            assert row.complaints() == []
