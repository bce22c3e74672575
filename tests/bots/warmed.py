"""A bot that warms up, and says by which process that was done."""

import os
from pathlib import Path

from pipecat.runner.types import RunnerArguments

warmed_by: list[int] = []


def say(line: str) -> None:
    """One line into BOT_RECORD."""
    with Path(os.environ["BOT_RECORD"]).open("a") as file:
        file.write(line + "\n")


def warm_up() -> None:
    """Called before any session."""
    warmed_by.append(os.getpid())
    say(f"warmed up in {os.getpid()}")


async def bot(_: RunnerArguments) -> None:
    """Tell, and return."""
    say(f"session {os.getpid()} warmed by {warmed_by[0]}")
