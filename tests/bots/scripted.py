"""A bot that does what its launch's body says under `do`, and records when it is there.

Each line of the file BOT_RECORD is `<what> <session> <attempt> <pid> <monotonic seconds> <more>`.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pipecat.runner.types import RunnerArguments

memory: list[str] = []


def record(what: str, args: RunnerArguments, more: object = "-") -> None:
    """One line, in one write, so that the lines of several processes do not mix."""
    line = f"{what} {args.session_id} {about(args)['attempt']} {os.getpid()} {time.monotonic():.6f} {more}\n"
    with Path(os.environ["BOT_RECORD"]).open("a") as file:
        file.write(line)


def about(args: RunnerArguments) -> dict[str, Any]:
    """What the fleet tells the bot of its session."""
    assert args.body
    told: dict[str, Any] = args.body["pipefleet"]
    return told


async def bot(args: RunnerArguments) -> None:
    """Enter, act, leave."""
    record("entered", args, about(args)["previous_reason"])
    try:
        await ACTS[(args.body or {}).get("do", "return")](args)
    finally:
        record("left", args)


async def return_at_once(_: RunnerArguments) -> None:
    pass


async def stay(_: RunnerArguments) -> None:
    await asyncio.Event().wait()


async def fail(args: RunnerArguments) -> None:
    raise LookupError(f"no room for {(args.body or {}).get('what')}")


async def be_killed(_: RunnerArguments) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def exit_with_code(_: RunnerArguments) -> None:
    os._exit(3)


async def ignore_cancellation(args: RunnerArguments) -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            record("cancelled", args)


async def block(_: RunnerArguments) -> None:
    time.sleep(3600)  # noqa: ASYNC251 - a bot that does not let its loop turn


async def leave_traces(args: RunnerArguments) -> None:
    record("found", args, f"{os.environ.get('TRACE')} {memory}")
    os.environ["TRACE"] = "of another session"
    memory.append("of another session")


async def be_killed_after_leave(_: RunnerArguments) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


async def block_for_a_while(args: RunnerArguments) -> None:
    await asyncio.sleep(0)
    while not Path(os.environ["BOT_RECORD"]).with_suffix(".go").exists():
        time.sleep(0.01)  # noqa: ASYNC251 - it writes up the call, in its own way


async def leave_slowly(args: RunnerArguments) -> None:
    try:
        await stay(args)
    finally:
        await asyncio.sleep((args.body or {}).get("for_s", 2.5))
        record("goodbye", args)


async def leave_a_child_slowly(args: RunnerArguments) -> None:
    record("child", args, subprocess.Popen(["/bin/sleep", "600"]).pid)  # noqa: ASYNC220
    await leave_slowly(args)


async def exit_well(_: RunnerArguments) -> None:
    sys.exit(0)


async def cancel_itself(_: RunnerArguments) -> None:
    raise asyncio.CancelledError


class Unusual(BaseException):
    """Neither an error nor an exit."""


async def raise_unusual(_: RunnerArguments) -> None:
    raise Unusual("of a kind")


async def raise_at_length(_: RunnerArguments) -> None:
    raise ValueError("x" * 5_000_000)


async def raise_no_text(_: RunnerArguments) -> None:
    raise ValueError("\ud800")


async def write_rubbish(args: RunnerArguments) -> None:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                os.write(int(name), b"rubbish\n")
    await stay(args)


async def block_deaf(args: RunnerArguments) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    await block(args)


async def start_children(args: RunnerArguments) -> None:
    for own_session in (False, True):
        child = subprocess.Popen(["/bin/sleep", "600"], start_new_session=own_session)  # noqa: ASYNC220
        record("child", args, child.pid)


async def eat(args: RunnerArguments) -> None:
    memory.append("x" * (300 * 1024 * 1024))
    await stay(args)


def once(act: Callable[[RunnerArguments], Awaitable[None]]) -> Callable[[RunnerArguments], Awaitable[None]]:
    """Do it in the first attempt, and stay in the later ones."""

    async def first(args: RunnerArguments) -> None:
        await (act if about(args)["attempt"] == 1 else stay)(args)

    return first


ACTS: dict[str, Callable[[RunnerArguments], Awaitable[None]]] = {
    "return": return_at_once,
    "stay": stay,
    "raise": fail,
    "be killed once": once(be_killed),
    "be killed": be_killed,
    "exit once": once(exit_with_code),
    "ignore cancellation": ignore_cancellation,
    "block": block,
    "block once": once(block),
    "leave traces": leave_traces,
    "eat once": once(eat),
    "be killed after leave": be_killed_after_leave,
    "block for a while": block_for_a_while,
    "leave slowly": leave_slowly,
    "leave a child slowly": leave_a_child_slowly,
    "sys.exit": exit_well,
    "cancelled by itself": cancel_itself,
    "base exception": raise_unusual,
    "endless text": raise_at_length,
    "no text": raise_no_text,
    "write rubbish once": once(write_rubbish),
    "block, deaf to SIGALRM": block_deaf,
    "start children": start_children,
}
