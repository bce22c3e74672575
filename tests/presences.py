"""Runners that say that they are there."""

from typing import Any

from shared.contract import Presence


def a_presence(runner: str = "r", **told: Any) -> Presence:
    """What a runner says: warm and ready, with one free slot, but for what is told."""
    known = {"host": "h", "pid": 1, "start": "warm", "version": "1", "state": "ready", "slots": 1, "busy": 0, **told}
    return Presence(**{"runner": runner, "free": known["slots"] - known["busy"], "running": 0, **known})
