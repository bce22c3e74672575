"""While Redis is away every request is refused; the log says it once, and once that it is over."""

import time
from typing import Any

import structlog
from litestar import Request, Response
from litestar.types import Message, Scope

from services.gateway.error_answers import ErrorBody, answer
from services.gateway.errors import Away
from shared.errors import Unavailable

PROOF = {200, 202, 204, 404, 409}
"""Statuses that a route which needs Redis gives only when it has answered. A rate is also refused without it."""
QUIET_S = 1.0
"""Refusing none for this long is being back: a server that serves some requests and refuses others is still away."""

_log = structlog.get_logger()


class Outage:
    """The present outage, if there is one."""

    def __init__(self) -> None:
        self._routes: set[object] = set()
        """The handlers whose requests were refused. What the others answer says nothing about Redis."""
        self._refused = 0
        self._began = self._last = 0.0

    def refuse(self, request: Request[Any, Any, Any], error: Unavailable) -> Response[ErrorBody]:
        """The answer to a request that Redis was needed for."""
        what = {"method": request.method, "path": request.url.path, "error": str(error)}
        self._last = time.monotonic()
        if not self._routes:
            self._began, self._refused = self._last, 0
            _log.warning("redis_away", **what)
        self._refused += 1
        self._routes.add(request.scope["route_handler"])
        _log.debug("request_refused", **what)
        return answer(Away())

    async def watch(self, message: Message, scope: Scope) -> None:
        """See from an answer that is about to be sent whether the outage is over. An unknown address has no handler."""
        if not self._routes or message["type"] != "http.response.start" or message["status"] not in PROOF:
            return
        now = time.monotonic()
        if scope.get("route_handler") in self._routes and now - self._last >= QUIET_S:
            _log.info("redis_back", after_s=round(now - self._began, 1), refused=self._refused)
            self._routes.clear()
