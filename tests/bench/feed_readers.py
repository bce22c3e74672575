"""Many gateways' readers in one process, without their HTTP: `python -m tests.bench.feed_readers <gateways>`."""

import asyncio
import sys
from contextlib import AsyncExitStack

from services.gateway.parts import ANSWER_S, assemble
from services.gateway.settings import GatewaySettings
from shared import settings
from shared.process import logs
from shared.redis.connection import connect


async def main(count: int) -> None:
    """Each follows the feeds and its replies, as the real one does, until killed."""
    configuration = settings.load(GatewaySettings)
    logs.setup("gateway", level=configuration.log_level, form="json")
    async with AsyncExitStack() as stack:
        for _ in range(count):
            redis = connect(configuration.redis_url, answer_s=ANSWER_S)
            readers = connect(configuration.redis_url, retries=0)
            await stack.enter_async_context(assemble(configuration, redis, readers).reading())
        print("ready", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
