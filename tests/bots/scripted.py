"""A bot that does what its launch's body says under `do`, and records when it is there.

Each line of the file BOT_RECORD is `<what> <session> <attempt> <pid> <monotonic seconds> <more>`.
"""

import asyncio
import os
import signal
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
    "leave traces": leave_traces,
    "eat once": once(eat),
}
