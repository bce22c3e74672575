"""One room is one room: its canonical URL."""

import ipaddress
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, quote, urlsplit

MAX_LENGTH = 2048
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_NEEDS_NO_ESCAPE = re.compile(r"[A-Za-z0-9._~-]")
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
"""Is spelt as it should be already."""


class BadRoom(ValueError):  # noqa: N818 - it says what it is
    """Not a room's URL; the text says why in one sentence, without the URL."""


def canonical(url: str) -> str:
    """The one spelling of a room's URL: no query, no fragment, no default port, no trailing slash, host in lower case.

    Raises:
        BadRoom: it is no absolute URL with a host, or carries a user's name.
    """
    scheme, host, port, path = _parts(url)
    return f"{scheme}://{host}{port}{path}"


def daily(url: str, hosts: Iterable[str]) -> str:
    """The same for a Daily room: https, a room's name, and a host that matches one of the patterns.

    Raises:
        BadRoom: it is none.
    """
    scheme, host, port, path = _parts(url)
    if scheme != "https":
        raise BadRoom("must be https for transport daily")
    if not any(fnmatchcase(host.strip("[]"), pattern.lower()) for pattern in hosts):
        raise BadRoom("is on a host that ROOM_HOSTS does not allow")
    if not path:
        raise BadRoom("must name a room, not only a host")
    return f"{scheme}://{host}{port}{path}"


def _parts(url: str) -> tuple[str, str, str, str]:
    """Scheme, host, port with its colon if it has to be named, and path of a canonical URL."""
    if len(url) > MAX_LENGTH:
        raise BadRoom(f"must have at most {MAX_LENGTH} characters")
    if _UNPRINTABLE.search(url):
        raise BadRoom("must not contain spaces, control characters or backslashes")
    parts, port = _split(url)
    scheme, name = parts.scheme, parts.hostname
    if not scheme or not name:
        raise BadRoom("must be an absolute URL, such as https://example.daily.co/room")
    if "@" in parts.netloc:
        raise BadRoom("must not contain a user name or password")
    named = port is not None and port != DEFAULT_PORTS.get(scheme)
    return scheme, _host(name), f":{port}" if named else "", _path(parts.path)


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadRoom("must be an absolute URL with a valid host and port") from None
    return parts, port


def _host(host: str) -> str:
    if ":" in host:
        if "%" in host:
            # A zone can be anything, and so end like a host that is allowed.
            raise BadRoom("must not contain a zone of an IPv6 address")
        try:
            return f"[{ipaddress.IPv6Address(host).compressed}]"
        except ValueError:
            raise BadRoom("must be an absolute URL with a valid host") from None
    try:
        name = host.rstrip(".").encode("idna").decode().lower() if not host.isascii() else host.rstrip(".").lower()
    except UnicodeError:
        raise BadRoom("must be an absolute URL with a valid host") from None
    if not _HOST.fullmatch(name):
        raise BadRoom("must be an absolute URL with a valid host")
    return name


def _path(path: str) -> str:
    """Without empty steps, and with `%7e` and `~`, `ä` and `%C3%A4` spelt alike."""
    if _PLAIN_PATH.fullmatch(path):
        return path
    path = quote(path, safe="/%:@!$&'()*+,;=~")
    steps = [step for step in _ESCAPE.sub(_unescaped, path).split("/") if step not in {"", "."}]
    if ".." in steps:
        raise BadRoom("must not contain steps upwards")
    return "".join(f"/{step}" for step in steps)


def _unescaped(escape: re.Match[str]) -> str:
    character = chr(int(escape[1], 16))
    return character if _NEEDS_NO_ESCAPE.fullmatch(character) else escape[0].upper()
