"""One webhook request: signed as Standard Webhooks has it, sent once, and what came of it.

https://www.standardwebhooks.com says how a receiver verifies `webhook-signature`. With several secrets there are
several signatures, so that a receiver can change from one to the next.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp

from services.operator.webhooks.public_addresses import public_socket

ANSWER_S = 15.0
"""How long a receiver may take for its answer."""
CONCURRENT = 8
"""How many requests are under way at most."""
_PREFIX = "whsec_"


@dataclass(frozen=True)
class Answer:
    """What came of a request. Without a status there was no answer; `error` is for people and holds no secret."""

    status: int | None = None
    retry_after_s: float = 0.0
    error: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and self.status // 100 == 2

    @property
    def gone(self) -> bool:
        """Whether the receiver says that there is to be no more."""
        return self.status == HTTPStatus.GONE


def check_url(url: str) -> None:
    """Whether this is an address for webhooks.

    Raises:
        ValueError: it is not; the text does not quote it, for it may hold a password.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("expected an absolute URL with https")


def key_of(secret: str) -> bytes:
    """The key of a secret such as `whsec_…`.

    Raises:
        ValueError: it is none; the text does not quote it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError("expected whsec_ and the base64 of 24 to 64 bytes, such as whsec_$(openssl rand -base64 32)")
    return key


def signatures(keys: Iterable[bytes], webhook_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def retry_after_s(header: str | None, now: datetime) -> float:
    """How long a `Retry-After` asks to wait; 0 without one that can be read."""
    if not header:
        return 0.0
    if header.strip().isdecimal():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
        return max((at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds(), 0.0)
    except (ValueError, OverflowError):
        return 0.0


class Sender:
    """Sends to one receiver."""

    def __init__(self, session: aiohttp.ClientSession, url: str, secrets: Iterable[str]) -> None:
        self._session = session
        self._url = url
        self._keys = [key_of(secret) for secret in secrets]
        self.receiver = urlsplit(url).hostname or ""
        """How logs call it."""

    async def send(self, webhook_id: str, body: bytes) -> Answer:
        """Send once; never raises for what the network or the receiver does."""
        timestamp = int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": "Pipefleet",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures(self._keys, webhook_id, timestamp, body),
        }
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                after_s = retry_after_s(response.headers.get("retry-after"), datetime.now(UTC))
                return Answer(response.status, after_s, f"the receiver answered {response.status}")
        except TimeoutError:
            return Answer(error=f"the receiver did not answer within {ANSWER_S:g} s")
        except aiohttp.ClientConnectorError as error:
            return Answer(error=f"no connection: {error.os_error}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Not their text, which may have the URL with its password in it.
            return Answer(error=f"no answer: {type(error).__name__}")


@asynccontextmanager
async def sender(url: str, secrets: Iterable[str], *, allow_private: bool) -> AsyncIterator[Sender]:
    """A sender, for as long as the context lasts. It follows no redirect, keeps no cookie and knows no proxy."""
    connector = aiohttp.TCPConnector(
        limit=CONCURRENT, ttl_dns_cache=10, socket_factory=None if allow_private else public_socket
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=ANSWER_S),
        trust_env=False,
    ) as session:
        yield Sender(session, url, secrets)
