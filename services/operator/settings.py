"""What the operator reads from the environment."""

from typing import Literal

from shared.settings import Count, FleetSettings, Seconds


class OperatorSettings(FleetSettings, frozen=True, kw_only=True):
    """Every variable of the operator."""

    launcher: Literal["process", "none"] = "process"
    """What starts a cold runner: a process on this machine; or nothing, and launches wait for a warm runner."""
    cold_max: Count = 4
    """How many cold runners one operator keeps alive at most, busy ones included."""
    overflow_grace_s: Seconds = 0.5
    """How long a launch is left to the warm runners before a cold one is started for it."""
