"""An outage in two lines of a runner's log."""

import pytest
from structlog.testing import capture_logs

from services.runner.trouble import Trouble


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        pytest.param("-1 +2 +4", ["begins 1", "ends 4"], id="what works again is said when nothing has failed for 3 s"),
        pytest.param("-1 -2 -3 -9 -10", ["begins 1"], id="what goes on is said once"),
        pytest.param("-1 +2 -3 +4 -5 +6 -7", ["begins 1"], id="what works now and then is not over"),
        pytest.param("-1 +4 -5 +8 -30 +34", ["begins 1", "ends 4"], id="no second beginning within 30 s"),
        pytest.param("-1 +4 -5 -32 +36", ["begins 1", "ends 4", "begins 32", "ends 36"], id="what lasts is said then"),
        pytest.param("+1 +9", [], id="where nothing fails there is nothing to say"),
    ],
)
def test_trouble(calls: str, told: list[str]) -> None:
    """After a Redis restart a runner said twice a second that it could not renew, and never that it could again."""
    trouble, said = Trouble("begins", "ends"), []
    for call in calls.split():
        at = float(call[1:])
        with capture_logs() as lines:
            trouble.failed(at) if call[0] == "-" else trouble.worked(at)
        said += [f"{line['event']} {at:g}" for line in lines]
    assert said == told
