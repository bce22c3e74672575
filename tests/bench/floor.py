"""The least that a launch through a stream can cost: an empty Litestar handler with one XADD, and whoever that wakes.

`python -m tests.bench.floor gateway` and `… reader`, on the address in REDIS_URL.
"""

import asyncio
import os
import socket
import sys
import time
from typing import Any

import uvicorn
from litestar import Litestar, post
from redis.asyncio import Redis

STREAM, GROUP = "floor", "readers"
redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, socket_timeout=None, max_connections=1000)


@post("/empty", status_code=202)
async def empty() -> None:
    """Nothing but the server."""


@post("/join", status_code=202)
async def join(data: dict[str, Any]) -> None:
    """One entry."""
    await redis.xadd(STREAM, {"number": data["body"]["number"]})


async def read() -> None:
    """Say for each entry that it was read."""
    await redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        while True:
            answer: Any = await redis.xreadgroup(GROUP, "reader", {STREAM: ">"}, count=1, block=5000)
            read_at = time.monotonic_ns()
            for _, entries in answer or ():
                for _, fields in entries:
                    out.sendto(f"{fields['number']} {read_at}".encode(), os.environ["BENCH_ENTERED"])


if __name__ == "__main__":
    if sys.argv[1] == "reader":
        asyncio.run(read())
    else:
        app = Litestar([empty, join], openapi_config=None)
        uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=False, log_level="warning")
