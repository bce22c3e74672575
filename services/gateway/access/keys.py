"""The keys of the gateway's callers, as the settings have them.

A key stands there as it is, or as `sha256:` and the hash of it, which is no use to who reads the settings. A plain hash
is right for what is long and random: there is nothing to guess, and it is computed for every request. Behind either
may stand `@2026-12-31`, the last day on which the key is good, in UTC.
"""

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256

SHORTEST = 20
"""Characters. Of hexadecimal digits, the poorest that are usual, these are 80 bits."""

_LAST_DAY = re.compile(r"(?P<key>.+)@(?P<day>\d{4}-\d{2}-\d{2})", re.DOTALL)
_HASH = "sha256:"
_HEX_DIGITS = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Key:
    """One key."""

    digest: bytes = field(repr=False)
    """SHA-256 of it."""
    length: int | None
    """How many characters it has, where that is known."""
    until: float | None
    """From this moment on it is not good any more."""

    @property
    def fingerprint(self) -> str:
        """A name for logs and counters, from which nobody learns the key."""
        return self.digest.hex()[:8]

    def expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.until is not None and now >= self.until


def parse(text: str) -> Key:
    """A key as it stands in the settings.

    Raises:
        ValueError: it is none; the complaint does not quote it.
    """
    until = None
    if dated := _LAST_DAY.fullmatch(text):
        text = dated["key"]
        try:
            last = date.fromisoformat(dated["day"])
        except ValueError:
            raise ValueError(f"{dated['day']} is no day") from None
        until = datetime.combine(last + timedelta(days=1), time(), UTC).timestamp()
    if not text.startswith(_HASH):
        return Key(sha256(text.encode()).digest(), len(text), until)
    digest = text.removeprefix(_HASH)
    if not _HEX_DIGITS.fullmatch(digest):
        raise ValueError(f"expected 64 hexadecimal digits after {_HASH}")
    key = Key(bytes.fromhex(digest), None, until)
    if key.digest == sha256().digest():
        raise ValueError("this is the hash of nothing")
    return key


def check(variable: str, keys: Iterable[str], *, any_length: bool) -> None:
    """See that these are keys.

    Raises:
        ValueError: one is none, or so short that it could be guessed; which one is told by its place.
    """
    for place, text in enumerate(keys, 1):
        try:
            key = parse(text)
        except ValueError as error:
            raise ValueError(f"{variable}: key {place}: {error}") from None
        if not any_length and key.length is not None and key.length < SHORTEST:
            raise ValueError(
                f"{variable}: key {place}: expected at least {SHORTEST} random characters, got {key.length}; "
                f"`openssl rand -hex 24` makes a good one"
            )


def known(presented: bytes, keys: Iterable[Key], now: float) -> Key | None:
    """The key that was presented, if it is one of these: where it stands there twice, the last that is still good."""
    digest, found = sha256(presented).digest(), None
    # Every key is compared, so that the time does not say which one it was.
    for key in keys:
        if hmac.compare_digest(digest, key.digest) and (found is None or not key.expired(now)):
            found = key
    return found
