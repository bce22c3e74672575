"""The gateway over HTTP: JSON in, JSON out, events as they come.

With the standard library alone, so that the command can be installed anywhere, and is in every image.
"""

import http.client
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

ANSWER_S = 15.0
"""How long a gateway may take to answer, beyond what it was asked to wait."""
SILENCE_S = 40.0
"""A stream of events that says nothing for this long, not even its heartbeat, is broken."""
AGAIN_S = 2.0
"""The pause before a broken stream of events is asked for again, until the gateway has said another."""
LONGEST_LIST = 1000
"""How much a gateway lists at once."""


class CommandError(Exception):
    """A sentence for whoever typed the command, and the exit code.

    CommandError
    ├── Refused        1: the gateway, or something it asked, said no
    ├── UsageError     2: the command itself is wrong
    └── Unreachable    3: no gateway answers there
    """

    exit_code = 1


class Refused(CommandError):  # noqa: N818 - the errors of this tree say what is the case
    """The gateway's own sentence, with its status."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status

    @property
    def passes(self) -> bool:
        """Whether the same may be granted in a while."""
        return self.status == 429 or self.status >= 500


class UsageError(CommandError):
    """The command cannot be carried out as it was given."""

    exit_code = 2


class Unreachable(CommandError):  # noqa: N818
    """Nobody answers at the gateway's address."""

    exit_code = 3


@dataclass(frozen=True)
class Event:
    """One server-sent event. Without a type it is a heartbeat; `now` that all that was written before has come."""

    type: str
    id: str
    data: Json
    now: bool = False


class Gateway:
    """One gateway. Making it does nothing."""

    def __init__(self, url: str, key: str = "") -> None:
        if not _is_address(url):
            raise UsageError(f"the gateway's address begins with http:// or https://, and {url!r} does not")
        if not key.isascii() or not key.isprintable():
            raise UsageError("the key has something in it that no header can carry")
        self.url = url.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "pipefleet"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    def get(self, path: str, **query: str | float | None) -> Json:
        """An answer of success.

        Raises:
            Refused: it is another one.
            Unreachable: there is none.
        """
        return self._json("GET", path, None, query)

    def post(self, path: str, body: Json | None = None, *, wait_s: float = 0, **query: str | float | None) -> Json:
        """The same; the gateway has `wait_s` more time for it."""
        return self._json("POST", path, {} if body is None else body, query, wait_s)

    def events(self, path: str, since: str = "", *, lasting: bool = True, **query: str | None) -> Iterator[Event]:
        """What happens, from the event of the id `since` on, across broken connections, until there is no more.

        A gateway that is gone is waited for, if this is to be `lasting`.

        Raises:
            Refused: there are no such events.
            Unreachable: nobody answers at the first time of asking, or at any where this is not lasting.
        """
        last, again_s, reached = since, AGAIN_S, False
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
            try:
                with closing(self._open("GET", path, query=query, headers=headers, wait_s=SILENCE_S)) as answer:
                    reached = True
                    if answer.status == 204:
                        return
                    for event, retry_ms in self._told(answer):
                        last, again_s = event.id or last, retry_ms / 1000 if retry_ms else again_s
                        if event.type == "end":
                            return
                        yield event
            except (Unreachable, Refused) as error:
                if not (reached and lasting) or (isinstance(error, Refused) and not error.passes):
                    raise
            except (OSError, http.client.HTTPException):
                pass  # cut off in the middle
            time.sleep(again_s)

    def _json(
        self,
        method: str,
        path: str,
        body: Json | None,
        query: Mapping[str, str | float | None],
        wait_s: float = 0,
    ) -> Json:
        try:
            with closing(self._open(method, path, body, query=query, wait_s=wait_s)) as answer:
                text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"The gateway at {self.url} broke off: {_why(error)}") from None
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise self._no_gateway("it does not speak JSON") from None
        if not isinstance(found, dict):
            raise self._no_gateway("it speaks of something else")
        return found

    def _told(self, answer: http.client.HTTPResponse) -> "Iterator[tuple[Event, int]]":
        if answer.headers.get_content_type() != "text/event-stream":
            raise self._no_gateway("it does not send events")
        return _parsed(answer)

    def _no_gateway(self, why: str) -> Refused:
        return Refused(f"What answers at {self.url} is no gateway: {why}.")

    def _open(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str | float | None],
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0,
    ) -> http.client.HTTPResponse:
        given = [(name, value) for name, value in query.items() if value is not None]
        address = self.url + path + (f"?{urllib.parse.urlencode(given)}" if given else "")
        data = None if body is None else json.dumps(body).encode()
        kind = {} if data is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310 - its scheme was looked at
            address, data, {**self._headers, **kind, **(headers or {})}, method=method
        )
        try:
            answer: http.client.HTTPResponse = _opener().open(request, timeout=ANSWER_S + wait_s)
        except urllib.error.HTTPError as error:
            with closing(error):
                raise Refused(_sentence(error), error.code) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(f"No gateway answers at {self.url}: {_why(error)}") from None
        return answer


def _is_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A key is for the address that it was given for."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=ssl.create_default_context()))


def _sentence(error: urllib.error.HTTPError) -> str:
    """What the gateway says of its refusal; something else that answers there says less."""
    try:
        told = json.loads(error.read())["error"]
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
        told = ""
    return str(told) or f"The gateway answered {error.code} {error.reason}"


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__


def _parsed(lines: Iterable[bytes]) -> Iterator[tuple[Event, int]]:
    """The events of a stream, each with the pause in milliseconds that was said before it, or 0."""
    said: dict[str, str] = {}
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line:
            # A comment is a field without a name. Ours have one line of data each.
            name, _, value = line.partition(":")
            said[name] = value.removeprefix(" ")
        elif said:
            data = json.loads(said.get("data", "{}"))
            event = Event(said.get("event", ""), said.get("id", ""), data, now=said.get("") == "now")
            yield event, int(said.get("retry", 0))
            said = {}
