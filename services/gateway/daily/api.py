"""Daily's REST API, as far as rooms for sessions need it.

Errors are `{error, info}`. An account may ask about 20 times a second, but delete only 2 rooms a second, and is told
429 beyond that: https://docs.daily.co/reference/rest-api
"""

import asyncio
import random
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from shared.errors import PipefleetError

ANSWER_S = 10.0
TRIES = 3
"""How often a request that Daily has no time for is made, while somebody waits for it."""
PAUSE_S = 0.3
"""Before the second try; it doubles with every further one."""

S = TypeVar("S", bound=msgspec.Struct)


class DailyError(PipefleetError):
    """Daily did not do what it was asked. `status` is 0 where it gave no answer; the text is what it said."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status

    @property
    def busy(self) -> bool:
        """Whether the account asks too often."""
        return self.status == 429

    @property
    def away(self) -> bool:
        """Whether it may do the same thing later."""
        return self.busy or self.status == 0 or self.status >= 500

    @property
    def wrong_request(self) -> bool:
        """Whether what was asked is wrong in itself; a key that Daily does not take is not."""
        return self.status == 400 and not str(self).startswith("auth")


class Room(msgspec.Struct, frozen=True):
    """A room that is there."""

    url: str


class _Token(msgspec.Struct, frozen=True):
    token: str


class _Complaint(msgspec.Struct, frozen=True):
    error: str = ""
    info: str = ""


class DailyApi:
    """The requests. Every one raises `DailyError` where it is not done."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._http: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._http:
            await self._http.aclose()
            self._http = None

    async def create_room(self, name: str, properties: dict[str, Any]) -> Room:
        """A private room of this name."""
        request = {"name": name, "privacy": "private", "properties": properties}
        return _read(await self._patiently("rooms", request), Room)

    async def create_token(self, properties: dict[str, Any]) -> str:
        """A meeting token."""
        return _read(await self._patiently("meeting-tokens", {"properties": properties}), _Token).token

    async def delete_room(self, name: str) -> None:
        """Remove a room, with everyone in it; one that is not there is as good."""
        try:
            await self._ask("DELETE", f"rooms/{quote(name, safe='')}")
        except DailyError as error:
            if error.status != 404:
                raise

    async def _patiently(self, path: str, body: Any) -> bytes:
        for tries in range(TRIES - 1):
            try:
                return await self._ask("POST", path, body)
            except DailyError as error:
                if not error.busy:
                    raise
                await asyncio.sleep(PAUSE_S * 2**tries * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: Any = None) -> bytes:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=ANSWER_S)
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            # The client's own limit is for each piece of an answer, and a trickle has no end.
            async with asyncio.timeout(ANSWER_S):
                answer = await self._http.request(method, f"{self._url}/{path}", json=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise DailyError(0, f"no answer ({type(error).__name__})") from error
        if answer.is_success:
            return answer.content
        raise DailyError(answer.status_code, _complaint(answer))


def _read(content: bytes, kind: type[S]) -> S:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise DailyError(0, f"an answer without a {kind.__name__.strip('_').lower()}") from None


def _complaint(answer: httpx.Response) -> str:
    try:
        said = msgspec.json.decode(answer.content, type=_Complaint)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"status {answer.status_code}"
    return ": ".join(filter(None, (said.error, said.info))) or f"status {answer.status_code}"
