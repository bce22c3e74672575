"""The original design's operator: pops a job, then pushes it over HTTP to one warm runner after the other.

Where the original would start a Kubernetes Job for want of a warm runner, this one puts the job back and waits.
"""

import asyncio
import json
import os
from typing import Any

import httpx
from redis.asyncio import Redis

PUSH_TIMEOUT_S = 1.0
POOL_EMPTY_S = 0.05


async def main() -> None:
    """Serve jobs one after the other, for ever."""
    async with (
        Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, socket_timeout=None) as redis,
        httpx.AsyncClient(timeout=PUSH_TIMEOUT_S) as http,
    ):
        while True:
            popped: Any = await redis.blpop(["bot:queue"], timeout=5)
            if popped and not await pushed(redis, http, json.loads(popped[1])):
                await redis.lpush("bot:queue", popped[1])
                await asyncio.sleep(POOL_EMPTY_S)


async def pushed(redis: Redis, http: httpx.AsyncClient, job: dict[str, Any]) -> bool:
    """Whether a runner of the pool took the job."""
    while url := str(await redis.lpop("bot:pool") or ""):
        try:
            answer = await http.post(f"{url}/start", json=job)
        except httpx.TransportError:
            continue
        if answer.is_success:
            return True
    return False


if __name__ == "__main__":
    asyncio.run(main())
