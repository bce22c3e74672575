"""A bot that writes down what it was invited with, and stays until it is told to leave."""

import asyncio
import json
import os
from pathlib import Path

from pipecat.runner.types import RunnerArguments


def write_down(args: RunnerArguments) -> None:
    """One line into BOT_RECORD."""
    with Path(os.environ["BOT_RECORD"]).open("a") as file:
        file.write(json.dumps({"kind": type(args).__name__, **vars(args)}) + "\n")


async def bot(args: RunnerArguments) -> None:
    """Write, and stay."""
    write_down(args)
    await asyncio.Event().wait()
