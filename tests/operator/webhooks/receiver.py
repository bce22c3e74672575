"""Somebody's HTTP server that takes webhooks, and answers what the test wants."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[int], web.StreamResponse]
"""The answer to the request of this number, from 1."""


@dataclass
class Request:
    """One request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


@dataclass
class Receiver:
    """What was received, accepted or not."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    """The ids of accepted events."""
    answer: Answer = lambda _: web.Response(status=204)
    refused: tuple[str, ...] = ()
    """Types of events that are never accepted."""
    hold: asyncio.Event | None = None
    """While it is there and not set, nobody gets an answer."""
    under_way: int = 0
    most_under_way: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(Request({name.lower(): value for name, value in request.headers.items()}, b""))
        mine = self.requests[-1]
        mine.body = await request.read()
        answer = self.answer(len(self.requests))
        if self.refused and mine.event["type"] in self.refused:
            answer = web.Response(status=422)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.hold:
                await self.hold.wait()
        finally:
            self.under_way -= 1
        if answer.status // 100 == 2:
            self.accepted.append(mine.headers["webhook-id"])
        return answer


@asynccontextmanager
async def a_receiver() -> AsyncIterator[Receiver]:
    """One that listens on this machine, and accepts all unless told otherwise."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        receiver.url = f"http://127.0.0.1:{port}/hook?key=SECRET-QUERY"
        yield receiver
    finally:
        await runner.cleanup()
