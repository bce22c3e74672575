"""Buckets of tokens, on each kind of server."""

import asyncio
import time

import pytest

from shared.buckets import Buckets, Rate
from shared.redis.connection import Redis
from tests.waiting import until

BUCKET = "{bot}:rate:join:key"
A_MILLISECOND = 20 * 0.001 * 2
"""What fills a bucket in the time for which the server's clock and ours may differ in a rounding."""


async def test_what_is_taken_is_gone_and_more_than_there_is_becomes_a_debt(any_redis: Redis) -> None:
    buckets, rate = Buckets(any_redis), Rate(per_s=0.01, at_once=10)
    for count, left in ((3, 7), (7, 0), (5, -5), (0, -5)):
        [level] = await buckets.spend([(BUCKET, rate, count)])
        assert level == pytest.approx(left, abs=0.01)


async def test_many_who_take_at_once_take_from_one_bucket(any_redis: Redis) -> None:
    buckets, rate = Buckets(any_redis), Rate(per_s=0.01, at_once=100)
    await asyncio.gather(*(buckets.spend([(BUCKET, rate, 2)]) for _ in range(30)))
    assert await buckets.spend([(BUCKET, rate, 0), ("{bot}:another", rate, 1)]) == pytest.approx([40, 99], abs=0.01)


async def test_a_bucket_fills_and_is_not_there_any_more_when_it_is_full(any_redis: Redis) -> None:
    """It is looked at from outside, so that each look is of some moment between its question and its answer."""
    buckets, rate = Buckets(any_redis), Rate(per_s=20, at_once=4)
    began = time.monotonic()
    await buckets.spend([(BUCKET, rate, 6)])
    spent = time.monotonic()
    level = -2.0
    while level < 4:
        asked = time.monotonic()
        [level] = await buckets.spend([(BUCKET, rate, 0)])
        least, most = -2 + 20 * (asked - spent), -2 + 20 * (time.monotonic() - began)
        assert min(least, 4) - A_MILLISECOND <= level <= min(most, 4) + A_MILLISECOND

    async def gone() -> bool:
        return not await any_redis.exists(BUCKET)

    await until(gone)
    assert await buckets.spend([(BUCKET, rate, 0)]) == [4]
    assert await any_redis.keys("*") == []


async def test_a_bucket_is_kept_as_long_as_it_takes_to_fill(any_redis: Redis) -> None:
    buckets, rate = Buckets(any_redis), Rate(per_s=0.1, at_once=4)
    began = time.monotonic()
    await buckets.spend([(BUCKET, rate, 6)])
    kept_s = await any_redis.pttl(BUCKET) / 1000
    assert 60 - (time.monotonic() - began) - 0.002 <= kept_s <= 60.002


async def test_a_clock_that_is_set_back_makes_no_debt(any_redis: Redis) -> None:
    """Who had taken one token of ten was refused for the whole hour by which the server's clock had gone back."""
    buckets, rate = Buckets(any_redis), Rate(per_s=0.01, at_once=10)
    await buckets.spend([(BUCKET, rate, 1)])
    full, _, written = str(await any_redis.get(BUCKET)).partition(".")
    an_hour = 3600 * 1_000_000
    await any_redis.set(BUCKET, f"{int(full) + an_hour}.{int(written or 0) + an_hour}", px=3_700_000)
    for left in (8, 7):
        [level] = await buckets.spend([(BUCKET, rate, 1)])
        assert level == pytest.approx(left, abs=0.01)
    assert await any_redis.pttl(BUCKET) <= 300_000


async def test_a_bucket_of_an_older_version_is_read(any_redis: Redis) -> None:
    buckets, rate = Buckets(any_redis), Rate(per_s=0.01, at_once=10)
    seconds, _ = await any_redis.time()
    await any_redis.set(BUCKET, f"{(seconds + 500) * 1_000_000}")
    [level] = await buckets.spend([(BUCKET, rate, 1)])
    assert level == pytest.approx(4, abs=0.05)
