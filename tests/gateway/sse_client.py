"""A client of server-sent events that keeps to the HTML standard: what it has, and where it is to come back to."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Received:
    """An event that was dispatched."""

    type: str
    id: str
    data: Any

    @property
    def entry(self) -> str:
        """The entry id of a state change."""
        return self.id.partition("_")[0]


class Listener:
    """One connection."""

    def __init__(self, response: httpx.Response, last_id: str) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.last_id = last_id
        self.comments = 0
        """How many heartbeats there were."""
        self.retry_ms = 0
        self._type, self._data = "message", list[str]()
        self._lines = response.aiter_lines()

    async def next(self) -> Received:
        """The next event.

        Raises:
            StopAsyncIteration: there is none, the connection was closed in order.
        """
        while True:
            if received := await self._line():
                return received

    async def _line(self) -> Received | None:
        """Read a line; the event, if it was the last one of one."""
        name, colon, value = (await anext(self._lines)).partition(":")
        match name, value.removeprefix(" "):
            case "id", text:
                self.last_id = text
            case "event", text:
                self._type = text
            case "data", text:
                self._data.append(text)
            case "retry", text:
                self.retry_ms = int(text)
            case "", _ if colon:
                self.comments += 1
            case "", _:
                kind, data, self._type, self._data = self._type, self._data, "message", []
                return Received(kind, self.last_id, json.loads("\n".join(data))) if data else None
        return None

    async def some(self, count: int) -> list[Received]:
        """So many of them."""
        return [await self.next() for _ in range(count)]

    async def until(self, kind: str) -> list[Received]:
        """All up to the first of this type."""
        found = [await self.next()]
        while found[-1].type != kind:
            found.append(await self.next())
        return found

    async def rest(self) -> list[Received]:
        """All until the connection is closed in order."""
        found = []
        try:
            while True:
                found.append(await self.next())
        except StopAsyncIteration:
            return found

    async def placed(self) -> None:
        """Returns when the server has said where this client is; what is written from then on, it gets."""
        while not self.comments:
            await self._line()


@asynccontextmanager
async def listening(http: httpx.AsyncClient, path: str, last_id: str = "", **params: Any) -> AsyncIterator[Listener]:
    """Connect, coming from `last_id`; leaving drops the connection wherever it is."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with http.stream("GET", path, params=params, headers=headers) as response:
        yield Listener(response, last_id)
