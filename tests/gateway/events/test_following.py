"""One client and the one reader of the streams, where they do not go side by side."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from services.gateway.events.feed import Feed
from services.gateway.events.labels import Labels
from services.gateway.events.positions import Position
from services.gateway.events.stream import EventStream
from services.gateway.events.subscribers import Subscribers, Subscription
from shared.contract import ACTIVITY, EVENTS, FIELD
from shared.redis.connection import Redis
from tests.gateway.events.test_backlog import SPEECH, STATE, write
from tests.gateway.events.test_feed import running


def ids(chunk: bytes) -> list[str]:
    return [line.removeprefix("id: ") for line in chunk.decode().splitlines() if line.startswith("id: ")]


async def some(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """The next chunk that has anything in it."""
    async with asyncio.timeout(5):
        while not (chunk := await anext(chunks)):
            pass
    return chunk


async def test_a_client_that_has_more_than_the_reader_keeps_its_place_in_both_streams(redis: Redis) -> None:
    """It came from another gateway. With the reader's own place as its id it would get things twice the next time."""
    await write(redis, states=range(1, 4), activity=range(1, 6))
    subscribers, subscription = Subscribers(), Subscription(None, None)
    stream = EventStream(redis, subscription, Position((3, 0), (5, 0)), labels=Labels(redis), wanted={})
    with subscribers.added(subscription):
        async with aclosing(stream.chunks(subscribers)) as chunks:
            assert ids(await some(chunks)) == ["3-0_5-0"]
            assert await anext(chunks) == b""
            assert await anext(chunks) == b"id: 3-0_5-0\n: now\n\n"
            behind = [(f"{at}-0", {FIELD: STATE}) for at in (1, 2, 3, 4)]
            subscribers.take([(EVENTS, behind), (ACTIVITY, [("2-0", {FIELD: SPEECH})])])
            assert ids(await some(chunks)) == ["4-0_5-0"]
            subscribers.take([(ACTIVITY, [(f"{at}-0", {FIELD: SPEECH}) for at in (3, 5, 6)])])
            assert ids(await some(chunks)) == ["4-0_6-0"]


async def test_what_nobody_read_is_given_to_those_who_listen_when_reading_begins(redis: Redis) -> None:
    await write(redis, states=range(1, 4), activity=range(0))
    feed, subscription = Feed(redis), Subscription(None, None)
    stream = EventStream(redis, subscription, Position((3, 0)), labels=Labels(redis), wanted={})
    with feed.subscribers.added(subscription):
        async with aclosing(stream.chunks(feed.subscribers)) as chunks:
            await some(chunks)
            assert await anext(chunks) == b""
            assert await anext(chunks) == b"id: 3-0_0-0\n: now\n\n"
            await write(redis, states=range(4, 6), activity=range(0))
            async with running(feed.run):
                assert ids(await some(chunks)) == ["4-0_0-0", "5-0_0-0"]
                assert await some(chunks) == b"id: 5-0_0-0\n: now\n\n"
                await write(redis, states=range(6, 7), activity=range(0))
                assert ids(await some(chunks)) == ["6-0_0-0"]


async def test_a_client_for_whom_there_is_nothing_hears_where_it_is_all_the_same(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes by and is not for it need not be read again when it comes back."""
    monkeypatch.setattr("services.gateway.events.stream.HEARTBEAT_S", 0.01)
    await write(redis, states=range(1, 4), activity=range(0))
    subscribers, subscription = Subscribers(), Subscription(None, frozenset({"ended"}))
    stream = EventStream(redis, subscription, Position((3, 0)), labels=Labels(redis), wanted={})
    with subscribers.added(subscription):
        async with aclosing(stream.chunks(subscribers)) as chunks:
            await some(chunks)
            assert await some(chunks) == b"id: 3-0_0-0\n: now\n\n"
            assert [await some(chunks) for _ in range(2)] == [b"id: 3-0_0-0\n:\n\n"] * 2
            subscribers.take([(EVENTS, [("4-0", {FIELD: STATE})])])
            assert await some(chunks) == b"id: 4-0_0-0\n:\n\n"
