"""What a web page of another site must not make its reader's browser send here.

A page can send requests to any address that its reader's machine can reach, this machine's loopback included. But the
browser tells where the page is from (`Origin`), and under which name it came here (`Host`), also when somebody's name
was pointed at 127.0.0.1; and it does not send JSON to another site that has not allowed it.
"""

import re
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from services.gateway.errors import Forbidden, NotJson
from services.gateway.settings import loopback

ELSEWHERE = "Without keys requests from web pages of other sites are refused."
NOT_LOCAL = "Without keys only requests to localhost are served; JOIN_KEYS and ADMIN_KEYS open it under other names."

_HOST = re.compile(r"(?:\[(?P<ipv6>[^]]*)\]|(?P<name>[^]\[:@/]*))(?::\d*)?")
_JSON = re.compile(r"application/(?:[\w.-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


async def local_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let the request pass if it was sent to this machine by a name of its own, and by no page from elsewhere.

    Raises:
        Forbidden: it was not.
    """
    host = connection.headers.get("host", "")
    match = _HOST.fullmatch(host)
    if not match or not loopback((match["ipv6"] or match["name"] or "").lower()):
        raise Forbidden(NOT_LOCAL)
    origin = connection.headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        raise Forbidden(ELSEWHERE)


async def json_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let the request pass if it has no body, or one that says it is JSON.

    Raises:
        NotJson: it says something else, or nothing.
    """
    headers = connection.headers
    has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
    if has_body and not _JSON.fullmatch(headers.get("content-type", "")):
        raise NotJson
