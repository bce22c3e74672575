"""Buckets of tokens, on each kind of server."""

import asyncio
import time

import pytest

from shared.buckets import Buckets, Rate
from shared.redis.connection import Redis

BUCKET = "{bot}:rate:join:key"


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
    buckets, rate = Buckets(any_redis), Rate(per_s=20, at_once=4)
    began = time.monotonic()
    await buckets.spend([(BUCKET, rate, 6)])
    assert await any_redis.pttl(BUCKET) == pytest.approx(300, abs=10)
    level = -2.0
    while level < 1:
        [level] = await buckets.spend([(BUCKET, rate, 0)])
    assert time.monotonic() - began == pytest.approx(0.15, abs=0.05)
    while await any_redis.exists(BUCKET):
        pass
    assert time.monotonic() - began == pytest.approx(0.3, abs=0.05)
    assert await buckets.spend([(BUCKET, rate, 0)]) == [4]
    assert await any_redis.keys("*") == []
