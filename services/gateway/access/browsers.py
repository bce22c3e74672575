"""What a web page of another site must not make its reader's browser send here.

A page can send requests to any address that its reader's machine can reach, this machine's loopback included. But the
browser tells where the page is from (`Origin`), and under which name it came here (`Host`), also when somebody's name
was pointed at 127.0.0.1; and it does not send JSON to another site that has not allowed it.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from litestar.config.cors import CORSConfig
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from services.gateway.errors import Forbidden, NotJson
from services.gateway.request_headers import header
from services.gateway.settings import loopback

ELSEWHERE = "Without keys requests from web pages of other sites are refused."
NOT_LOCAL = "Without keys only requests to localhost are served; JOIN_KEYS and ADMIN_KEYS open it under other names."

Asked: TypeAlias = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]
"""A guard, in the form of it that is awaited."""

_HOST = re.compile(r"(?:\[(?P<ipv6>[^]]*)\]|(?P<name>[^]\[:@/]*))(?::\d*)?")
_JSON = re.compile(r"application/(?:[\w.-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


def cors(origins: Sequence[str]) -> CORSConfig | None:
    """What browsers are told of pages from these sites; nothing, which means no, where there are none."""
    if not origins:
        return None
    return CORSConfig(allow_origins=list(origins), expose_headers=["Location", "Retry-After"])


def local_only(origins: Sequence[str]) -> Asked:
    """A guard for requests that were sent to this machine by a name of its own, and by no page from elsewhere.

    `origins` are the sites whose pages may all the same. Some handlers may be asked by any name.
    """

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        if handler.opt.get("host") == "any":
            return
        host = header(connection.scope, b"host") or ""
        match = _HOST.fullmatch(host)
        if not match or not loopback((match["ipv6"] or match["name"] or "").lower()):
            raise Forbidden(NOT_LOCAL)
        origin = header(connection.scope, b"origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower() and origin not in origins:
            raise Forbidden(ELSEWHERE)

    return guard


async def json_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let the request pass if it has no body, or one that says it is JSON.

    Raises:
        NotJson: it says something else, or nothing.
    """
    scope = connection.scope
    has_body = (header(scope, b"content-length") or "0") != "0" or header(scope, b"transfer-encoding") is not None
    if has_body and not _JSON.fullmatch(header(scope, b"content-type") or ""):
        raise NotJson
