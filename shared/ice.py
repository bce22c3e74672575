"""STUN and TURN servers, as both ends of a WebRTC call are told of them.

Where bot and client cannot reach each other, a TURN server carries the media between them. It wants a name and a
password. These are made for one session, from a secret that the TURN server has too (coturn's `use-auth-secret`,
draft-uberti-behave-turn-rest): the name says until when it is good, the password is the name's HMAC. So no password
that lasts gets into a browser.
"""

import base64
import hashlib
import hmac
import re

import msgspec

_URL = re.compile(r"stuns?:[\w.-]+(:\d{1,5})?|turns?:([\w.-]+|\[[\da-fA-F:]+\])(:\d{1,5})?(\?transport=(udp|tcp))?")


class IceServer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Servers with one credential, in the shape of a browser's `RTCIceServer`."""

    urls: list[str]
    username: str = ""
    credential: str = ""


def check(urls: tuple[str, ...], turn_secret: str) -> None:
    """See whether calls can be made with these.

    Raises:
        ValueError: a URL is none, or a TURN server would let nobody in.
    """
    for url in urls:
        if not _URL.fullmatch(url):
            raise ValueError(f"ICE_SERVERS: expected stun:host:port or turn:host:port?transport=udp, got {url!r}")
        if not turn_secret and _is_turn(url):
            raise ValueError(f"TURN_SECRET: is not set, and {url} of ICE_SERVERS lets nobody in without a credential")


def ice_servers(urls: tuple[str, ...], turn_secret: str, whose: str, good_until: float) -> list[IceServer]:
    """The servers, with a credential for TURN that is good until this Unix time; `whose` is for the server's log."""
    stun = [url for url in urls if not _is_turn(url)]
    turn = [url for url in urls if _is_turn(url)]
    servers = [IceServer(urls=stun)] if stun else []
    if turn:
        username = f"{int(good_until)}:{whose}"
        digest = hmac.digest(turn_secret.encode(), username.encode(), hashlib.sha1)
        servers.append(IceServer(urls=turn, username=username, credential=base64.b64encode(digest).decode()))
    return servers


def _is_turn(url: str) -> bool:
    return url.startswith("turn")
