import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from services.gateway.commands.replies import Replies
from services.gateway.events.feed import Feed
from services.gateway.tail import AT_ONCE, TOGETHER_S, Batch, Tail
from shared.contract import EVENTS, FIELD, Outcome, Queued, Reply, Running, replies_key
from shared.redis.connection import Redis, connect
from shared.redis.entries import encode

LONG_S = 20.0


@asynccontextmanager
async def running(run: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    async def follow() -> None:
        await run()

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def happens(redis: Redis, session_id: str) -> None:
    await redis.xadd(EVENTS, {FIELD: encode(Running(session_id=session_id, attempt=1))})


async def prompt(wait: Awaitable[None]) -> None:
    """Fail when the wait lasts until its own time is up."""
    await asyncio.wait_for(wait, LONG_S / 2)


async def test_news_wake_those_who_watch_their_session_and_no_others(redis: Redis) -> None:
    feed = Feed(redis)
    async with running(feed.run):
        with feed.watching("a") as first, feed.watching("a") as second, feed.watching("b") as other:
            for watch in (first, second, other):
                await prompt(watch.changed(LONG_S))  # the feed has begun
            await happens(redis, "a")
            await prompt(first.changed(LONG_S))
            await prompt(second.changed(LONG_S))
            assert not other._event.is_set()


async def test_the_labels_of_a_session_that_begins_are_known_before_anyone_asks(redis: Redis) -> None:
    """800 clients that chose by label asked Redis 800 times for every new session, all at once."""
    feed = Feed(redis)
    begun = Queued(
        session_id="s", attempt=1, room_url="none://s", transport="none", deadline_s=1.0, labels={"team": "a"}
    )
    async with running(feed.run):
        with feed.watching("s") as watch:
            await prompt(watch.changed(LONG_S))  # the feed has begun
            await redis.xadd(EVENTS, {FIELD: encode(begun)})
            await prompt(watch.changed(LONG_S))
            assert await feed.labels.of("s") == {"team": "a"}  # of which there is no history to ask
            assert await feed.labels.of("t") == {}


async def test_news_between_two_waits_are_not_missed(redis: Redis) -> None:
    feed = Feed(redis)
    async with running(feed.run):
        with feed.watching("a") as watch, feed.watching("b") as later:
            await prompt(watch.changed(LONG_S))
            await prompt(later.changed(LONG_S))
            await happens(redis, "a")
            await happens(redis, "b")
            await prompt(later.changed(LONG_S))
            await prompt(watch.changed(LONG_S))


async def test_entries_that_nobody_can_read_do_not_stop_the_feed(redis: Redis) -> None:
    feed = Feed(redis)
    async with running(feed.run):
        with feed.watching("a") as watch:
            await prompt(watch.changed(LONG_S))
            await redis.xadd(EVENTS, {FIELD: "{"})
            await redis.xadd(EVENTS, {"other": "x"})
            await redis.xadd(EVENTS, {FIELD: '{"type": "from_the_future"}'})
            await happens(redis, "a")
            await prompt(watch.changed(LONG_S))


async def test_who_stopped_watching_is_forgotten(redis: Redis) -> None:
    feed = Feed(redis)
    with feed.watching("a"), feed.watching("a"):
        pass
    assert feed._watches == {}


async def test_a_feed_that_is_about_to_stop_wakes_everyone(redis: Redis) -> None:
    feed = Feed(redis)
    with feed.watching("a") as watch:
        feed.stop_waiting()
        await prompt(watch.changed(LONG_S))
    assert feed.stopping


async def test_replies_go_to_whom_they_are_for_and_late_ones_to_nobody(redis: Redis) -> None:
    replies = Replies(redis, "g")
    stream = replies_key("g")
    async with running(replies.run):
        with replies.expected("one") as one, replies.expected("two") as two:
            for command_id in ("unknown", "two", "two", "one"):
                reply = Reply(command_id=command_id, outcome=Outcome.DELIVERED, message=f"for {command_id}")
                await redis.xadd(stream, {FIELD: encode(reply)})
            assert (await asyncio.wait_for(one, LONG_S)).message == "for one"
            assert (await asyncio.wait_for(two, LONG_S)).message == "for two"
        assert replies._waiting == {}


async def test_a_tail_reads_what_was_written_before_only_where_it_should(redis: Redis) -> None:
    await redis.xadd("s", {"n": "before"})
    found: dict[bool, list[Batch]] = {True: [], False: []}
    begun = {True: asyncio.Event(), False: asyncio.Event()}
    tails = {
        news: Tail(redis, ["s"], take=found[news].append, resume=begun[news].set, news=news) for news in (True, False)
    }
    async with running(tails[True].run), running(tails[False].run):
        await asyncio.gather(begun[True].wait(), begun[False].wait())
        await redis.xadd("s", {"n": "after"})
        async with asyncio.timeout(LONG_S):
            while "after" not in repr(found[True]) or "after" not in repr(found[False]):
                await asyncio.sleep(0.001)
    assert "before" not in repr(found[True])
    assert "before" in repr(found[False])


async def test_a_stream_that_counts_from_lower_again_is_read_from_its_beginning(redis_url: str, redis: Redis) -> None:
    """A server that came back without its newest entries, and with a clock that goes behind."""
    taken: list[str] = []
    resumed = asyncio.Event()

    def take(batch: Batch) -> None:
        taken.extend(entry for _, entries in batch for entry, _ in entries)

    readers = connect(redis_url, retries=0)
    tail = Tail(readers, ["s"], take=take, resume=resumed.set, news=False)
    await redis.xadd("s", {"n": "1"}, id="2000-0")
    async with readers, running(tail.run), asyncio.timeout(LONG_S):
        while taken != ["2000-0"]:
            await asyncio.sleep(0.001)
        resumed.clear()
        await redis.delete("s")
        await redis.xadd("s", {"n": "1"}, id="1000-0")
        await redis.client_kill_filter(_type="normal", skipme=True)
        await resumed.wait()
        while taken != ["2000-0", "1000-0"]:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("ticks", range(12))
async def test_a_reader_ends_when_cancelled_while_news_arrive(redis: Redis, ticks: int) -> None:
    """redis-py's send lost a cancellation on Python 3.11, and the gateway's shutdown waited for ever."""
    for _ in range(5):
        feed = Feed(redis)
        task = asyncio.create_task(feed.run())
        with feed.watching("a") as watch:
            await prompt(watch.changed(LONG_S))
        writing = asyncio.create_task(happens(redis, "a"))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task, writing}, timeout=5)
        assert task in done
        await writing


def collecting(redis: Redis) -> tuple[Tail, list[str]]:
    """A reader, and the ids of what it has read."""
    taken: list[str] = []

    def take(batch: Batch) -> None:
        taken.extend(entry for _, entries in batch for entry, _ in entries)

    return Tail(redis, ["s"], take=take, resume=lambda: None, news=False), taken


async def test_what_comes_in_quick_succession_is_read_together_and_the_first_of_it_at_once(redis: Redis) -> None:
    tail, taken = collecting(redis)
    async with running(tail.run), asyncio.timeout(LONG_S):
        await redis.config_resetstat()
        written, began = [], time.monotonic()
        for number in range(300):
            written.append(await redis.xadd("s", {"n": str(number)}))
            while number == 0 and not taken:
                await asyncio.sleep(0)
        while taken != written:
            await asyncio.sleep(0.001)
        calls = (await redis.info("commandstats"))["cmdstat_xread"]["calls"]
        together = (time.monotonic() - began) / TOGETHER_S
    assert calls < together + 3, "the first of it, a read that waits, and one for each such span"


async def test_a_reader_that_is_behind_does_not_wait_for_more(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.tail.TOGETHER_S", 60.0)
    tail, taken = collecting(redis)
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(2 * AT_ONCE + 1):
            pipe.xadd("s", {"n": str(number)})
        written = await pipe.execute()
    async with running(tail.run), asyncio.timeout(LONG_S):
        while taken != written:
            await asyncio.sleep(0.001)
