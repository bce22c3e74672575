"""What a test needs of the machine beyond Python packages."""

import os
import shutil

import pytest

PROGRAMS = {
    "redis-server": "the scripts were tried on the embedded Valkey only",
    "chromium": "no page was opened in a browser",
    "npm": "Pipecat's published JavaScript client was not tried, nor was the console checked with axe",
    "make": "no cluster's secrets were made",
    "turnserver": "no call went through a TURN server",
}
"""Programs that CI must have, and what it means where one is missing; said at the end of every run."""


def need(program: str) -> str:
    """The path of a program of the list. Without it the test is skipped, except in CI, where it fails."""
    path = shutil.which(program)
    if path:
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"{program} is not installed, and CI must have it")
    pytest.skip(f"{program} is not installed: {PROGRAMS[program]}")


def missing() -> list[str]:
    """A line for each program of the list that this machine has not."""
    return [
        f"{program} is not installed: {meaning}" for program, meaning in PROGRAMS.items() if not shutil.which(program)
    ]
