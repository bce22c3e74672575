"""A bot that writes past every log: what its body asks for, in all the ways that there are."""
# ruff: noqa: T201

import asyncio
import ctypes
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from pipecat.runner.types import RunnerArguments

from services.runner.logs import bot_logs


async def bot(args: RunnerArguments) -> None:
    """Print, and stay or crash."""
    body: dict[str, Any] = args.body or {}
    ACTS[body["do"]](body)
    try:
        await asyncio.Event().wait()
    finally:
        print("leaving")
        if "left" in body:
            Path(body["left"]).write_text("after printing")


def say(body: dict[str, Any]) -> None:
    print("by print", body["token"])
    print("to the error", file=sys.stderr)
    os.write(2, b"past python\n")
    subprocess.run(["/bin/echo", "of a child"], check=True)
    warnings.warn("a warning", stacklevel=1)
    bot_logs.hide("found-later")
    print("and found-later is hidden too")
    os.write(1, b"without an end")


def crash(_: dict[str, Any]) -> None:
    print("the last words")
    ctypes.string_at(0)


def flood(body: dict[str, Any]) -> None:
    started = time.monotonic()
    for _ in range(100):
        os.write(1, b"x" * 99_999 + b"\n")
    Path(body["record"]).write_text(str(time.monotonic() - started))


def flood_and_crash(_: dict[str, Any]) -> None:
    for number in range(5_000):
        os.write(1, b"line %d\n" % number)
    crash({})


def nothing(_: dict[str, Any]) -> None:
    pass


ACTS = {"say": say, "crash": crash, "flood": flood, "flood and crash": flood_and_crash, "nothing": nothing}
