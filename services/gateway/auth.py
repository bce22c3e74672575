"""Who may do what.

A route says in its `opt` what it is: `OPEN`, `PROBE`, `START`, or, when it says nothing, only for those who may do
everything.
"""

import hmac
from collections.abc import Iterable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from services.gateway.errors import Forbidden, HttpError, Unauthorized

OPEN = {"access": "open"}
"""For everyone."""
PROBE = {**OPEN, "host": "any"}
"""For everyone, and by whatever name: a kubelet or load balancer calls by address. It tells and changes nothing."""
START = {"access": "start"}
"""For those who may start sessions and connect to them."""
ALL: dict[str, str] = {}
"""For those who may do everything."""

NO_KEY = "A key is needed: Authorization: Bearer <key>, or X-Bot-Secret."
WRONG_KEY = "This key may start sessions only."


class Keys:
    """The two classes of keys."""

    def __init__(self, join_keys: Iterable[str], admin_keys: Iterable[str]) -> None:
        self._join = tuple(key.encode() for key in join_keys)
        self._admin = tuple(key.encode() for key in admin_keys)

    async def guard(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let the request pass, or not.

        Raises:
            Unauthorized: it has no key that we know.
            Forbidden: its key may start sessions, and this is something else.
        """
        access = handler.opt.get("access")
        if access == "open":
            return
        key = presented(connection.headers.get("authorization", ""), connection.headers.get("x-bot-secret", ""))
        if _among(key, self._admin):
            return
        if not _among(key, self._join):
            raise Unauthorized(NO_KEY)
        if access != "start":
            raise Forbidden(WRONG_KEY)


def refusals(access: dict[str, str]) -> tuple[HttpError, ...]:
    """What the guard says to those who may not."""
    if access.get("access") == "open":
        return ()
    return (Unauthorized(NO_KEY),) if access == START else (Unauthorized(NO_KEY), Forbidden(WRONG_KEY))


def presented(authorization: str, secret: str) -> bytes:
    """The key that the headers carry, or nothing."""
    scheme, _, key = authorization.partition(" ")
    return (key.strip() if scheme.lower() == "bearer" else secret).encode("latin-1", "replace")


def _among(key: bytes, keys: tuple[bytes, ...]) -> bool:
    # Every key is compared, so that the time does not say which one it was.
    return bool(key) and sum(hmac.compare_digest(key, known) for known in keys) > 0
