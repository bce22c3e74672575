"""A bot that says at once when its function was entered, and stays for as long as its launch's `body` says."""

import asyncio
import os
import socket
import time

from pipecat.runner.types import RunnerArguments


async def bot(args: RunnerArguments) -> None:
    """One datagram: the launch's number and the machine's monotonic clock, in nanoseconds."""
    entered = time.monotonic_ns()
    body = args.body or {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(f"{body['number']} {entered}".encode(), os.environ["BENCH_ENTERED"])
    await asyncio.sleep(body.get("stay_s", 0))
