"""Connections to the public Internet alone: no receiver's name or address leads into the network around the fleet.

What is checked is the very address that a socket is opened for, after every resolution, in whatever spelling it was
given. So a name that resolves to something else the second time gains nothing.
"""

import ipaddress
import socket
from typing import Any

TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv6 addresses behind which a translator puts the IPv4 address in their last four bytes."""
TUNNELS = tuple(map(ipaddress.IPv6Network, ("2002::/16", "2001::/32", "64:ff9b:1::/48")))
"""6to4, Teredo, and translators of one's own: they lead to IPv4 addresses that nothing here would look at."""


class PrivateAddress(OSError):  # noqa: N818 - it says what it is
    """An address that is not public; the text names it."""


def public_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for this entry of `getaddrinfo`, as an aiohttp connector asks for one.

    Raises:
        PrivateAddress: it leads elsewhere than to the public Internet.
    """
    family, kind, protocol, _, (host, *_) = address
    if not public(host):
        raise PrivateAddress(f"{host} is not a public address, and WEBHOOK_ALLOW_PRIVATE is not set")
    return socket.socket(family, kind, protocol)


def public(host: str) -> bool:
    """Whether an address is one of the public Internet; what is no address is not."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_site_local or any(address in network for network in TUNNELS):
            return False
        if address in TRANSLATED:
            address = ipaddress.IPv4Address(address.packed[-4:])
        else:
            address = address.ipv4_mapped or address
    special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback
    return address.is_global and not special
