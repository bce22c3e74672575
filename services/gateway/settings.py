"""What the gateway reads from the environment."""

import ipaddress
import re
from functools import lru_cache
from typing import Annotated

from services.gateway.access import keys as key_list
from services.gateway.access import rates
from shared.settings import LaunchSettings, Names, Port, Positive, Seconds

RateText = Annotated[str, rates.parse]
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^A-Z\s/?#@*]+")
"""As browsers spell it: in lower case, and without a path."""


class GatewaySettings(LaunchSettings, frozen=True, kw_only=True):
    """The gateway's settings."""

    gateway_host: str = "127.0.0.1"
    """Address to listen on. Anything but loopback needs keys."""
    gateway_port: Port = 4444
    """Port to listen on."""
    gateway_grace_s: Seconds = 15.0
    """How long requests in hand may take to finish once the gateway was told to stop."""
    room_hosts: Names = ("*.daily.co",)
    """Hosts that a Daily room may be on; `*` stands for anything."""
    queue_limit: Positive = 1000
    """With this many sessions of an agent waiting for a runner, further ones are refused."""
    join_keys: Names = ()
    """Keys that may start sessions and connect to them: as they are, or as `sha256:` and their hash."""
    admin_keys: Names = ()
    """Keys that may do everything: also command, read and end sessions."""
    join_rate: RateText = ""
    """How many sessions one key may start: so many a second over time, and so many at once, such as `10,50`."""
    request_rate: RateText = ""
    """The same for all its other requests."""
    gateway_without_keys: bool = False
    """1: without keys, listen also beyond loopback; for a container whose port is published to 127.0.0.1 alone."""
    cors_origins: Names = ()
    """Other sites whose pages may send requests, such as `http://localhost:5173`."""

    def __post_init__(self) -> None:
        """Refuse to serve the world without a key.

        Raises:
            ValueError: keys are missing or none, a site is none, or what all who make launches need is wrong.
        """
        super().__post_init__()
        keys = self.join_keys or self.admin_keys
        local = self.gateway_without_keys or loopback(self.gateway_host)
        key_list.check("JOIN_KEYS", self.join_keys, any_length=local)
        key_list.check("ADMIN_KEYS", self.admin_keys, any_length=local)
        for origin in self.cors_origins:
            if not _ORIGIN.fullmatch(origin) and not (keys and origin == "*"):
                raise ValueError(f"CORS_ORIGINS: expected sites such as http://localhost:5173, got {origin!r}")
        if not (keys or local):
            raise ValueError(
                f"JOIN_KEYS, ADMIN_KEYS: without keys the gateway listens on loopback only, "
                f"but GATEWAY_HOST is {self.gateway_host!r}"
            )


@lru_cache(maxsize=256)
def loopback(host: str) -> bool:
    """Whether a host's name or address leads to this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
