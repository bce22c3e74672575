"""Who may do what.

A route says in its `opt` what it is: `OPEN`, `PROBE`, `START`, `CONNECT`, or, when it says nothing, only for those who
may do everything.
"""

import time
from collections.abc import Iterable
from typing import Any

from litestar.connection import ASGIConnection

from services.gateway.access import keys
from services.gateway.access.keys import Key
from services.gateway.errors import Forbidden, HttpError, TooOften, Unauthorized
from services.gateway.request_headers import header

OPEN = {"access": "open"}
"""For everyone."""
PROBE = {**OPEN, "host": "any"}
"""For everyone, and by whatever name: a kubelet or load balancer calls by address. It tells and changes nothing."""
START = {"access": "start", "rate": "join"}
"""For those who may start sessions."""
CONNECT = {**START, "rate": "other"}
"""For the same, to connect to a session that is there."""
ALL: dict[str, str] = {}
"""For those who may do everything."""

NO_KEY = "A key is needed: Authorization: Bearer <key>, or X-Bot-Secret."
EXPIRED = "This key has expired."
WRONG_KEY = "This key may start sessions only."


class Keys:
    """The two classes of keys."""

    def __init__(self, join_keys: Iterable[str], admin_keys: Iterable[str]) -> None:
        self._admin = tuple(map(keys.parse, admin_keys))
        # A key of both classes is found as what it is last.
        self._all = (*map(keys.parse, join_keys), *self._admin)

    def check(self, connection: ASGIConnection[Any, Any, Any, Any], access: str | None) -> Key:
        """The key of a request to a route with this access.

        Raises:
            Unauthorized: it has no key that we know, or one that is not good any more.
            Forbidden: its key may start sessions, and this is something else.
        """
        authorization, secret = header(connection.scope, b"authorization"), header(connection.scope, b"x-bot-secret")
        shown = presented(authorization or "", secret or "")
        now = time.time()
        key = keys.known(shown, self._all, now)
        if key is None:
            raise Unauthorized(NO_KEY)
        if key.expired(now):
            raise Unauthorized(EXPIRED)
        if access != "start" and not any(key is one for one in self._admin):
            raise Forbidden(WRONG_KEY)
        return key


def refusals(access: dict[str, str]) -> tuple[HttpError, ...]:
    """What the guard says to those who may not."""
    if access.get("access") == "open":
        return ()
    everyone = (Unauthorized(NO_KEY), TooOften(1.0))
    return everyone if access.get("access") == "start" else (*everyone, Forbidden(WRONG_KEY))


def presented(authorization: str, secret: str) -> bytes:
    """The key that the headers carry, or nothing."""
    scheme, _, key = authorization.partition(" ")
    return (key.strip() if scheme.lower() == "bearer" else secret).encode("latin-1", "replace")
