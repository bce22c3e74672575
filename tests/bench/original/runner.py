"""The original design's runner: Pipecat and the bot in one process, which says that it is warm between sessions."""

import asyncio
import importlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from pipecat.runner.types import RunnerArguments
from pydantic import BaseModel
from redis.asyncio import Redis

URL = f"http://127.0.0.1:{os.environ['PORT']}"
redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, socket_timeout=None)
bot = importlib.import_module(os.environ["BOT"]).bot
sessions: set[asyncio.Task[None]] = set()


class StartRequest(BaseModel):
    """The job."""

    session_id: str
    room_url: str
    token: str | None = None
    body: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    # Served as soon as the server listens, which is after this.
    asyncio.get_running_loop().call_later(0.2, lambda: sessions.add(asyncio.create_task(register())))
    yield
    await redis.aclose()


app = FastAPI(lifespan=lifespan)


async def register() -> None:
    """Be warm."""
    await redis.rpush("bot:pool", URL)


async def serve(request: StartRequest) -> None:
    """One session, then warm again."""
    try:
        await bot(RunnerArguments(body=request.body, session_id=request.session_id))
    finally:
        await redis.delete(f"bot:lock:{request.room_url}")
        await register()


@app.post("/start")
async def start(request: StartRequest) -> dict[str, str]:
    """Begin a session, if none is under way."""
    sessions.difference_update([task for task in sessions if task.done()])
    if sessions:
        raise HTTPException(409, "busy")
    sessions.add(asyncio.create_task(serve(request)))
    return {"status": "started"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=False, log_level="warning")
