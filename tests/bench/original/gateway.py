"""The original design's gateway in its smallest faithful form: a lock by GET and SET, and a Redis list as the queue."""

import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from redis.asyncio import Redis

LOCK_S = 3600
redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, socket_timeout=None, max_connections=1000)


class JoinRequest(BaseModel):
    """As the original had it, without the fields for its own bot."""

    room_url: str
    token: str | None = None
    body: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/join")
async def join(request: JoinRequest) -> dict[str, Any]:
    """Queue a job, unless the room is locked."""
    lock = f"bot:lock:{request.room_url}"
    if session_id := await redis.get(lock):
        return {"status": "running", "session_id": session_id, "room_url": request.room_url, "reused": True}
    session_id = str(uuid.uuid4())
    await redis.set(lock, session_id, ex=LOCK_S)
    job = {"session_id": session_id, "room_url": request.room_url, "token": request.token, "body": request.body}
    await redis.rpush("bot:queue", json.dumps(job))
    return {"status": "queued", "session_id": session_id, "room_url": request.room_url}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=False, log_level="warning")
