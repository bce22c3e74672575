"""Daily's REST API for rooms and meeting tokens, as https://docs.daily.co/reference/rest-api documents it.

It refuses what the real one refuses: no key, another key, a name that is taken, a property of the wrong kind, a room
that is not there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "the-key-of-this-account"
LONGEST_NAME = 41


@dataclass
class FakeDaily:
    """The account: its rooms, and what it was asked."""

    url: str = ""
    rooms: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """Method and path of every request, in order."""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """What the next requests are answered, in order, whatever they ask."""
    away: bool = False
    """Every request is answered 503."""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until_empty(self, within_s: float = 10.0) -> None:
        """Returns when no room is left."""
        async with asyncio.timeout(within_s), self.changed:
            await self.changed.wait_for(lambda: not self.rooms)

    async def until_asked(self, what: str, within_s: float = 10.0) -> None:
        """Returns when there was such a request, by the beginning of method and path."""
        async with asyncio.timeout(within_s), self.changed:
            await self.changed.wait_for(lambda: any(one.startswith(what) for one in self.asked))

    @web.middleware
    async def guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        async with self.changed:
            self.asked.append(f"{request.method} {request.path.removeprefix('/v1')}")
            self.changed.notify_all()
        if self.away:
            return error(503, "server-error", "not now")
        if self.answers:
            status, body = self.answers.pop(0)
            return web.json_response(body, status=status)
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            return error(400, "authorization-header-error", "bad Authorization header format")
        if key != KEY:
            return error(401, "authentication-error", "")
        answer: web.StreamResponse = await handler(request)
        async with self.changed:
            self.changed.notify_all()
        return answer

    async def domain(self, _: web.Request) -> web.Response:
        return web.json_response({"domain_name": "example", "config": {}})

    async def create_room(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, properties = body.get("name", "unnamed"), body.get("properties", {})
        if name in self.rooms:
            return error(400, "invalid-request-error", f"a room named {name} already exists")
        if len(name) > LONGEST_NAME:
            return error(400, "invalid-request-error", "invalid name")
        if wrong := _wrong(properties):
            return error(400, "invalid-request-error", wrong)
        self.rooms[name] = body
        room = {"id": "d61cd7b2", "name": name, "api_created": True, "privacy": body["privacy"]}
        return web.json_response({**room, "url": f"https://example.daily.co/{name}", "config": properties})

    async def create_token(self, request: web.Request) -> web.Response:
        properties = (await request.json()).get("properties", {})
        if wrong := _wrong(properties):
            return error(400, "invalid-request-error", wrong)
        self.tokens.append(properties)
        return web.json_response({"token": f"token-{len(self.tokens)}"})

    async def delete_room(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if self.rooms.pop(name, None) is None:
            return error(404, "not-found", f"room {name} not found")
        return web.json_response({"deleted": True, "name": name})


def error(status: int, kind: str, info: str) -> web.Response:
    """An error as Daily tells it."""
    return web.json_response({"error": kind, "info": info}, status=status)


def _wrong(properties: dict[str, Any]) -> str:
    kinds = {"exp": int, "eject_at_room_exp": bool, "enable_chat": bool, "is_owner": bool, "user_name": str}
    for name, value in properties.items():
        if name in kinds and type(value) is not kinds[name]:
            return f"{name} should be a {kinds[name].__name__}"
        if name.startswith("unknown"):
            return f"unknown parameter '{name}'"
    return ""


@asynccontextmanager
async def fake_daily() -> AsyncIterator[FakeDaily]:
    """The account's API, at a port of its own."""
    account = FakeDaily()
    application = web.Application(middlewares=[account.guard])
    application.router.add_get("/v1/", account.domain)
    application.router.add_post("/v1/rooms", account.create_room)
    application.router.add_post("/v1/meeting-tokens", account.create_token)
    application.router.add_delete("/v1/rooms/{name}", account.delete_room)
    server = web.AppRunner(application)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    account.url = f"http://127.0.0.1:{server.addresses[0][1]}/v1"
    try:
        yield account
    finally:
        await server.cleanup()
