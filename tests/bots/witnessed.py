"""A bot that can be proven to be alone in its room, or not.

For as long as it is in its room it holds an exclusive lock on the room's file, which the kernel takes from it when its
process dies, and no moment earlier or later. A bot that finds the lock held has met another bot. Besides, it writes the
time into a file of its own every few milliseconds, so that silence can be measured whatever ended the bot.

Its body says `room`, and what it `do`es: `stay`, or `return` after `stay_s`, or `die` then if it is the first attempt,
or `return when told` by a file of that name; `enter_s` is how long it blocks its event loop at first, `leave_s` how
long it takes to leave.
"""

import asyncio
import fcntl
import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipecat.runner.types import RunnerArguments

BEAT_EVERY_S = 0.02


async def bot(args: RunnerArguments) -> None:
    """Enter, be there, leave."""
    body: dict[str, Any] = args.body or {}
    about = body["pipefleet"]
    name = f"{body['room']}.{about['session_id']}.{about['attempt']}.{os.getpid()}"
    with in_room(body["room"], name), beats_of(name) as beats:
        enter(beats, body.get("enter_s", 0.0))
        beating = asyncio.create_task(go_on_beating(beats))
        try:
            await stay(body, about["attempt"])
        finally:
            await asyncio.sleep(body.get("leave_s", 0.0))
            beating.cancel()
            beat(beats)


def enter(beats: int, busy_s: float) -> None:
    """Be busy for so long, without a turn of the event loop."""
    until = time.monotonic() + busy_s
    beat(beats)
    while (left_s := until - time.monotonic()) > 0:
        time.sleep(min(left_s, BEAT_EVERY_S))
        beat(beats)


async def stay(body: dict[str, Any], attempt: int) -> None:
    match body.get("do"), attempt:
        case "return", _:
            await asyncio.sleep(body.get("stay_s", 0.0))
        case "return when told", _:
            while not (folder() / "told").exists():
                await asyncio.sleep(BEAT_EVERY_S)
        case "die", 1:
            await asyncio.sleep(body.get("stay_s", 0.0))
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            await asyncio.Event().wait()


@contextmanager
def in_room(room: str, name: str) -> Iterator[None]:
    """Hold the room's lock; say so when it is another's."""
    lock = os.open(folder() / f"{room}.lock", os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 1000, 0).decode().strip()
            with (folder() / "met").open("a") as met:
                met.write(f"{time.monotonic():.6f} {name} {holder} {state_of(holder)}\n")
        else:
            os.ftruncate(lock, 0)
            os.pwrite(lock, name.encode(), 0)
        yield
    finally:
        os.close(lock)


@contextmanager
def beats_of(name: str) -> Iterator[int]:
    file = os.open(folder() / f"{name}.beats", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        yield file
    finally:
        os.close(file)


async def go_on_beating(file: int) -> None:
    while True:
        await asyncio.sleep(BEAT_EVERY_S)
        beat(file)


def beat(file: int) -> None:
    os.write(file, struct.pack("d", time.monotonic()))


def state_of(name: str) -> str:
    """The state letter of the process that a name ends with: `T` for one that is stopped."""
    try:
        stat = Path(f"/proc/{name.rpartition('.')[2]}/stat").read_text()
    except OSError:
        return "?"
    return stat.rpartition(")")[2].split()[0]


def folder() -> Path:
    return Path(os.environ["BOT_WITNESS"])
