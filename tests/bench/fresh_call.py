"""A bot in a process of its own that takes a WebRTC call: `python -m tests.bench.fresh_call <module> <socket>`.

It reads an offer as a line of JSON from the unix socket, writes its answer there, and calls the bot.
"""

import asyncio
import json
import sys

from pipecat.runner.types import SmallWebRTCRunnerArguments
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection

from services.runner.loading.bot_source import load


async def main(module: str, path: str) -> None:
    """One call."""
    bot = load(module).bot
    called: asyncio.Future[SmallWebRTCConnection] = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        offer = json.loads(await reader.readline())
        connection = SmallWebRTCConnection([])
        await connection.initialize(offer["sdp"], offer["type"])
        writer.write(json.dumps(connection.get_answer()).encode() + b"\n")  # type: ignore[no-untyped-call]
        writer.close()
        called.set_result(connection)

    async with await asyncio.start_unix_server(take, path, limit=1 << 20):
        print("ready", flush=True)  # noqa: T201
        connection = await called
        await bot(SmallWebRTCRunnerArguments(webrtc_connection=connection, body={}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
