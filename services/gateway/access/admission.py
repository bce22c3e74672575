"""Who gets in: what every request has to pass before its route sees it."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from services.gateway.access import browsers
from services.gateway.access.auth import Keys
from services.gateway.access.browsers import Asked
from services.gateway.access.rates import Rates
from services.gateway.access.refusals import Refusals
from services.gateway.errors import Forbidden, TooOften, Unauthorized
from services.gateway.settings import GatewaySettings

NO_KEYS = "anyone"
"""In the place of a key's fingerprint where there are no keys."""


def guard(settings: GatewaySettings, rates: Rates) -> Asked:
    """One guard with all checks, for every route: each further one has Litestar copy the handler at every request."""
    keys = Keys(settings.join_keys, settings.admin_keys) if settings.join_keys or settings.admin_keys else None
    local = browsers.local_only(settings.cors_origins)
    refusals = Refusals()

    async def admit(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        access, key = handler.opt.get("access"), NO_KEYS
        try:
            if keys is None:
                await local(connection, handler)
            elif access != "open":
                key = keys.check(connection, access).fingerprint
            if access != "open":
                await rates.take(handler.opt.get("rate", "other"), key)
        except (Unauthorized, Forbidden, TooOften) as error:
            await refusals.paced(error, key)
            raise
        await browsers.json_only(connection, handler)

    return admit
