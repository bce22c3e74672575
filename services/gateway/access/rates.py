"""How often each key may ask, over all gateways.

Each key has a bucket of tokens in Redis for sessions that it starts, and one for all else. A gateway has an image of
each bucket, which fills by the same rule. A request is served, or refused, by the image, without waiting for Redis;
what was taken is told to Redis soon, in one round trip for all that were served meanwhile, and the answer puts the
image right. Only where a part of the bucket has been taken without an answer yet, the next ones wait for it.

So gateways that take at the same moment can take a little more than there is. That is a debt, and is paid before
anybody is served again: over time the rate holds exactly, and refusing costs Redis nothing.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Literal, TypeAlias

import structlog

from services.gateway.errors import TooOften
from shared import contract
from shared.buckets import Buckets, Rate
from shared.errors import Unavailable
from shared.redis.connection import Redis, backoff_s
from shared.waiting import happens_within

FRESH_S = 1.0
"""Of an image that Redis has not put right for longer, one token may be untold, and no more."""
UNTOLD = 16
"""Of any other, one part in so many of what the bucket holds."""
TELL_EVERY_S = 0.02
"""While less than that is taken, Redis is told no more often."""

Kind: TypeAlias = Literal["join", "other"]

_RATE = re.compile(r"(?P<per_s>\d+(?:\.\d+)?)(?:,(?P<at_once>\d+))?")

_log = structlog.get_logger()


def parse(text: str) -> Rate | None:
    """A rate as the settings have it, `10` or `10,50`; None for none.

    Raises:
        ValueError: it is no rate.
    """
    if not text:
        return None
    match = _RATE.fullmatch(text.replace(" ", ""))
    rate = match and Rate(float(match["per_s"]), int(match["at_once"] or max(1, round(float(match["per_s"])))))
    if not rate or not 0.001 <= rate.per_s <= 1_000_000 or not 1 <= rate.at_once <= 1_000_000:
        raise ValueError(f"expected requests a second and how many at once, such as 10,50, got {text!r}")
    return rate


class Image:
    """One gateway's image of a bucket."""

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self.untold = 0
        """Tokens that were taken and of which Redis has not said that it knows."""
        self.told = asyncio.Event()
        """Set when Redis has been told, or could not be; another one takes its place then."""
        self._level = float(rate.at_once)
        self._at = now
        self._right_at = float("-inf")

    def level(self, now: float) -> float:
        """How many tokens are there, as far as is known here."""
        return min(self.rate.at_once, self._level + (now - self._at) * self.rate.per_s)

    def settled(self, now: float) -> bool:
        """Whether so little is untold that one more may be taken."""
        fresh = now - self._right_at < FRESH_S
        return self.untold < (max(1, self.rate.at_once // UNTOLD) if fresh else 1)

    def take(self, now: float) -> float:
        """Take one token and give 0, or give the seconds until there is one."""
        level = self.level(now)
        if level < 1:
            return (1 - level) / self.rate.per_s
        self._level, self._at = level - 1, now
        self.untold += 1
        return 0.0

    def put_right(self, level: float, told: int, now: float) -> None:
        """Redis was told of so many tokens, and says how many it has left; of what was taken since it does not know."""
        self.untold -= told
        self._level, self._at, self._right_at = level - self.untold, now, now


class Rates:
    """The images of one gateway. Requests of a kind that has no rate all pass."""

    def __init__(self, redis: Redis, rates: Mapping[Kind, Rate | None]) -> None:
        self._buckets = Buckets(redis)
        self._rates = {kind: rate for kind, rate in rates.items() if rate}
        self._images: dict[str, Image] = {}
        self._away: Unavailable | None = None
        """Why Redis was told nothing at the last attempt."""
        self._some = asyncio.Event()
        self._much = asyncio.Event()

    async def take(self, kind: Kind, key: str) -> None:
        """Let a request of this key pass, or not. `key` is its fingerprint.

        Raises:
            TooOften: there were too many.
            Unavailable: Redis does not say whether there were.
        """
        rate = self._rates.get(kind)
        if rate is None:
            return
        name = contract.rate_key(kind, key)
        image = self._images.get(name)
        if image is None:
            image = self._images[name] = Image(rate, time.monotonic())
        while not image.settled(time.monotonic()):
            if self._away:
                raise Unavailable(*self._away.args)
            self._much.set()
            await image.told.wait()
        if after_s := image.take(time.monotonic()):
            raise TooOften(after_s)
        self._some.set()
        if not image.settled(time.monotonic()):
            self._much.set()

    async def run(self) -> None:
        """Tell Redis what was taken, for as long as this is not cancelled."""
        failures = 0
        while self._rates:
            await self._some.wait()
            await happens_within(self._much, TELL_EVERY_S)
            self._some.clear()
            self._much.clear()
            try:
                await self._tell()
                self._away, failures = None, 0
            except Exception as error:  # noqa: BLE001 - those who wait must not wait for ever
                self._away = error if isinstance(error, Unavailable) else Unavailable("rates cannot be told")
                if self._away is not error:
                    _log.error("rates_not_told", error=str(error))
                self._some.set()
                await asyncio.sleep(backoff_s(failures))
                failures += 1

    async def _tell(self) -> None:
        spent = {name: (image, image.untold) for name, image in self._images.items() if image.untold}
        try:
            levels = await self._buckets.spend([(name, image.rate, count) for name, (image, count) in spent.items()])
            for (image, count), level in zip(spent.values(), levels, strict=True):
                image.put_right(level, count, time.monotonic())
        finally:
            for image, _ in spent.values():
                image.told.set()
                image.told = asyncio.Event()
