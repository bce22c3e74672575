"""The times that must stand in a certain order."""

import pytest

from services.runner.settings import RunnerSettings


@pytest.mark.parametrize("lease_s", [0.5, 20.0, 300.0])
def test_a_lease_can_be_renewed_three_times_before_the_fence_and_the_fence_comes_before_its_end(lease_s: float) -> None:
    settings = RunnerSettings(lease_s=lease_s)
    assert settings.renew_every_s * 3 < settings.fence_s < settings.lease_s


def test_the_default_lease_is_renewed_each_three_seconds_and_fenced_at_fifteen() -> None:
    settings = RunnerSettings()
    assert (settings.renew_every_s, settings.fence_s, settings.lease_s) == (3, 15, 20)
