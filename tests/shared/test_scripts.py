"""Every branch of every script, seen on both kinds of server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import ResponseError

from shared import contract, events
from shared.activity import ActivityLog
from shared.commands import Commands
from shared.contract import (
    CLAIMS,
    COMMANDS,
    DEAD,
    EVENTS,
    LAUNCH,
    ColdStart,
    Ended,
    Failed,
    Failure,
    Launch,
    Leave,
    Queued,
    Reason,
    Running,
    Speaking,
)
from shared.events import News
from shared.launches import Claim, EntryId, Launches, Lease, Offered, decode
from shared.redis import streams
from shared.redis.connection import Redis
from shared.redis.entries import encode
from tests.leases import lease_of
from tests.script_calls import strict_script_calls

SPEAKS = Speaking(session_id="s1", attempt=1, who="bot", what="started")
ENDED = Ended(session_id="s1", attempt=1, reason=Reason.COMPLETED)


@pytest.fixture
async def redis(any_redis: Redis) -> AsyncIterator[Redis]:
    async with strict_script_calls(any_redis):
        yield any_redis


@pytest.fixture
def launches(redis: Redis) -> Launches:
    return Launches(redis)


def launch(session_id: str = "s1", room_url: str = "room", **values: Any) -> Launch:
    wanted = {"transport": "none", "deadline_s": 60.0, "max_duration_s": 60.0, **values}
    return Launch(session_id=session_id, room_url=room_url, **wanted)


async def claimed(redis: Redis, holder: str = "a", session_id: str = "s1", room_url: str = "room") -> EntryId:
    """A launch that was offered and that this runner has."""
    await Launches(redis).offer(launch(session_id, room_url), queue_limit=10)
    [(_, [(entry, _)])] = await streams.read_group(redis, CLAIMS, holder, {LAUNCH: ">"}, count=1)
    return EntryId(entry)


async def contents(redis: Redis) -> dict[str, Any]:
    """Everything the server has: streams with their pending lists, and strings."""
    found: dict[str, Any] = {}
    for key in await keys(redis):
        if await redis.type(key) == "string":
            found[key] = await redis.get(key)
            continue
        groups: Any = await redis.xinfo_groups(key)
        pending = {g["name"]: await redis.xpending_range(key, g["name"], "-", "+", 100) for g in groups}
        owners = {name: [(row["message_id"], row["consumer"]) for row in rows] for name, rows in pending.items()}
        found[key] = (await redis.xrange(key), owners)
    return found


async def keys(redis: Redis) -> list[str]:
    found: Any = await redis.keys()
    return sorted(found)


async def history(redis: Redis, session_id: str = "s1") -> list[Any]:
    return [event for _, event in await events.history(redis, session_id)]


async def feed(redis: Redis) -> list[Any]:
    return [event for _, event in events.decode(await streams.between(redis, EVENTS))]


# offer


async def test_an_offer_writes_launch_event_history_and_room_in_one_step(redis: Redis, launches: Launches) -> None:
    assert await launches.offer(launch(), queue_limit=10) == Offered("queued", "s1", 1)
    [(entry, fields)] = await launches.live(10)
    assert decode(fields) == launch()
    assert [row[0] for row in await events.history(redis, "s1")] == [entry]
    assert await history(redis) == await feed(redis)
    assert await redis.get(contract.room_key("room")) == "s1"
    assert await redis.ttl(contract.session_key("s1")) == -1


async def test_an_offer_that_is_repeated_changes_nothing_and_answers_the_same(redis: Redis, launches: Launches) -> None:
    first = await launches.offer(launch(), queue_limit=10)
    before = await contents(redis)
    assert await launches.offer(launch(), queue_limit=10) == first
    assert await contents(redis) == before


async def test_an_offer_for_a_room_that_has_a_session_gives_that_one_and_writes_nothing(
    redis: Redis, launches: Launches
) -> None:
    await launches.offer(launch(), queue_limit=10)
    before = await contents(redis)
    assert await launches.offer(launch("s2"), queue_limit=10) == Offered("reused", "s1", 0)
    assert await contents(redis) == before


async def test_an_offer_to_a_full_queue_is_refused_and_writes_nothing(redis: Redis, launches: Launches) -> None:
    await launches.offer(launch("s1", "r1"), queue_limit=2)
    await launches.offer(launch("s2", "r2"), queue_limit=2)
    before = await contents(redis)
    assert await launches.offer(launch("s3", "r3"), queue_limit=2) == Offered("full", "", 2)
    assert await contents(redis) == before


async def test_a_claimed_launch_takes_no_place_in_the_queue(redis: Redis, launches: Launches) -> None:
    await claimed(redis)
    assert await launches.offer(launch("s2", "r2"), queue_limit=1) == Offered("queued", "s2", 1)


# find


async def test_a_rooms_session_is_found_while_it_lives_only(redis: Redis, launches: Launches) -> None:
    assert await launches.find("room") is None
    entry = await claimed(redis)
    assert await launches.find("room") == "s1"
    await launches.finish(entry, "a", launch(), ENDED)
    assert await launches.find("room") is None


# adopt


async def test_an_adopted_launch_is_accepted_and_held_in_one_step(redis: Redis, launches: Launches) -> None:
    claim = await launches.adopt(launch(), "a")
    assert isinstance(claim, Claim)
    lease = await lease_of(redis, claim.entry)
    assert lease
    assert (lease.entry, lease.holder) == (claim.entry, "a")
    assert [type(event) for event in await history(redis)] == [Queued]
    assert await redis.get(contract.room_key("room")) == "s1"


async def test_adopting_a_room_that_has_a_session_gives_that_one_and_writes_nothing(
    redis: Redis, launches: Launches
) -> None:
    await claimed(redis)
    before = await contents(redis)
    assert await launches.adopt(launch("s2"), "b") == "s1"
    assert await contents(redis) == before


async def test_nothing_is_adopted_while_a_launch_waits(redis: Redis, launches: Launches) -> None:
    await launches.offer(launch("s2", "r2"), queue_limit=10)
    before = await contents(redis)
    assert await launches.adopt(launch(), "a") is None
    assert await contents(redis) == before


# renew


async def test_renewing_makes_own_leases_young_and_names_all_others_as_lost(redis: Redis, launches: Launches) -> None:
    mine = await claimed(redis)
    other = await claimed(redis, "b", "s2", "r2")
    await launches.offer(launch("s3", "r3"), queue_limit=10)
    [_, _, (waits, _)] = await launches.live(10)
    await redis.xclaim(LAUNCH, CLAIMS, "a", 0, [mine], idle=5000, justid=True)
    await redis.xclaim(LAUNCH, CLAIMS, "b", 0, [other], idle=5000, justid=True)
    unknown = EntryId("1-1")
    assert await launches.renew("a", [mine, other, waits, unknown]) == [other, waits, unknown]
    ages = {entry: lease.age_ms for entry in (mine, other) if (lease := await lease_of(redis, entry))}
    assert ages[mine] < 5000 <= ages[other]
    assert await lease_of(redis, waits) is None


async def test_renewing_nothing_loses_nothing(redis: Redis, launches: Launches) -> None:
    await claimed(redis)
    assert await launches.renew("a", []) == []


# report


async def test_the_holder_reports_to_history_and_feed_with_one_id(redis: Redis, launches: Launches) -> None:
    entry = await claimed(redis)
    assert await launches.report(Claim(entry, launch()), "a", Running(session_id="s1", attempt=1))
    assert await history(redis) == await feed(redis)
    assert (await events.history(redis, "s1"))[-1][0] == (await streams.between(redis, EVENTS))[-1][0]
    assert (await history(redis))[-1] == Running(session_id="s1", attempt=1)


@pytest.mark.parametrize("case", ["another's", "nobody's", "gone"])
async def test_a_report_without_the_lease_writes_nothing(redis: Redis, launches: Launches, case: str) -> None:
    entry = await unheld(redis, launches, case)
    before = await contents(redis)
    assert not await launches.report(Claim(entry, launch()), "a", Running(session_id="s1", attempt=1))
    assert await contents(redis) == before


async def unheld(redis: Redis, launches: Launches, case: str) -> EntryId:
    """A launch that runner `a` does not hold."""
    if case == "nobody's":
        await launches.offer(launch(), queue_limit=10)
        return (await launches.live(1))[0][0]
    entry = await claimed(redis, "b" if case == "another's" else "a")
    if case == "gone":
        await launches.finish(entry, "a", launch(), ENDED)
    return entry


# requeue


async def test_a_requeued_launch_replaces_the_old_entry_and_is_free(redis: Redis, launches: Launches) -> None:
    old = await claimed(redis)
    failure = Failure(attempt=1, reason=Reason.BOT_DIED, message="gone")
    following = launch(attempt=2, failures=(failure,))
    new = await launches.requeue(old, "a", following)
    assert new
    assert [entry for entry, _ in await launches.live(10)] == [new]
    assert await launches.standing([(LAUNCH, old), (contract.RELAUNCH, new)]) == ["gone", "waiting"]
    assert await launches.read(new) == following
    assert (await events.history(redis, "s1"))[-1][0] == new
    last = (await history(redis))[-1]
    assert (last.attempt, last.reason, last.message) == (2, Reason.BOT_DIED, "gone")
    assert await redis.get(contract.room_key("room")) == "s1"


@pytest.mark.parametrize("case", ["another's", "nobody's", "gone"])
async def test_a_requeue_without_the_lease_changes_nothing(redis: Redis, launches: Launches, case: str) -> None:
    entry = await unheld(redis, launches, case)
    before = await contents(redis)
    assert await launches.requeue(entry, "a", launch(attempt=2)) is None
    assert await contents(redis) == before


async def test_a_lease_is_taken_away_only_at_the_age_that_was_seen(redis: Redis, launches: Launches) -> None:
    entry = await claimed(redis)
    before = await contents(redis)
    assert await launches.requeue(entry, "a", launch(attempt=2), age_ms=5000) is None
    assert await contents(redis) == before
    await redis.xclaim(LAUNCH, CLAIMS, "a", 0, [entry], idle=5000, justid=True)
    assert await launches.requeue(entry, "a", launch(attempt=2), age_ms=5000)


# finish


async def test_a_finished_session_leaves_its_history_and_nothing_else(redis: Redis, launches: Launches) -> None:
    entry = await claimed(redis)
    await Commands(redis).send("s1", "room", Leave(command_id="c"))
    assert await launches.finish(entry, "a", launch(), ENDED) == "finished"
    assert await keys(redis) == [EVENTS, LAUNCH, contract.RELAUNCH, contract.session_key("s1")]
    assert await launches.live(10) == []
    assert (await contents(redis))[LAUNCH][1] == {CLAIMS: []}
    assert (await history(redis))[-1] == ENDED
    assert await history(redis) == await feed(redis)
    assert 0 < await redis.ttl(contract.session_key("s1")) <= contract.SESSION_KEPT_S


async def test_a_session_given_up_leaves_a_dead_letter_too(redis: Redis, launches: Launches) -> None:
    entry = await claimed(redis)
    event = Failed(session_id="s1", attempt=1, reason=Reason.BOT_DIED, message="gone")
    assert await launches.finish(entry, "a", launch(token="secret"), event) == "finished"
    [(_, fields)] = await streams.between(redis, DEAD)
    assert '"token":"secret"' in fields["json"]
    assert (await history(redis))[-1] == event


async def test_a_dead_letter_that_cannot_be_written_leaves_no_word_of_an_end(redis: Redis, launches: Launches) -> None:
    """Each try told once more that the session had failed, and let its history expire while it went on."""
    entry = await claimed(redis)
    await redis.set(DEAD, "no stream")
    event = Failed(session_id="s1", attempt=1, reason=Reason.BOT_DIED, message="gone")
    told = await history(redis)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await launches.finish(entry, "a", launch(), event)
    assert await history(redis) == told
    assert await redis.ttl(contract.session_key("s1")) == -1
    await redis.delete(DEAD)
    await redis.xadd(DEAD, {"json": "{}"}, id="18446744073709551615-18446744073709551615")
    assert await launches.finish(entry, "a", launch(), event) == "finished"
    assert await history(redis) == [*told, event]


async def test_an_end_that_cannot_be_told_leaves_no_dead_letter(redis: Redis, launches: Launches) -> None:
    entry = await claimed(redis)
    await redis.rename(contract.session_key("s1"), "aside")
    await redis.set(contract.session_key("s1"), "no stream")
    event = Failed(session_id="s1", attempt=1, reason=Reason.BOT_DIED, message="gone")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await launches.finish(entry, "a", launch(), event)
    assert await redis.xlen(DEAD) == 0
    assert len(await launches.live(10)) == 1


async def test_a_queued_launch_is_withdrawn_by_nobody_in_particular(redis: Redis, launches: Launches) -> None:
    await launches.offer(launch(), queue_limit=10)
    [(entry, _)] = await launches.live(1)
    assert await launches.finish(entry, "", launch(), ENDED) == "finished"
    assert await launches.live(1) == []


async def test_finishing_twice_says_gone_and_changes_nothing(redis: Redis, launches: Launches) -> None:
    entry = await claimed(redis)
    await launches.finish(entry, "a", launch(), ENDED)
    before = await contents(redis)
    assert await launches.finish(entry, "a", launch(), ENDED) == "gone"
    assert await contents(redis) == before


@pytest.mark.parametrize(
    ("holder", "age_ms"), [("b", 0), ("", 0), ("a", 60_000)], ids=["another's", "a claimed one", "a young one"]
)
async def test_a_lease_that_is_held_is_not_finished_by_others(
    redis: Redis, launches: Launches, holder: str, age_ms: int
) -> None:
    entry = await claimed(redis)
    before = await contents(redis)
    assert await launches.finish(entry, holder, launch(), ENDED, age_ms=age_ms) == "held"
    assert await contents(redis) == before


async def test_a_launch_that_waits_is_not_finished_by_a_runner(redis: Redis, launches: Launches) -> None:
    await launches.offer(launch(), queue_limit=10)
    [(entry, _)] = await launches.live(1)
    assert await launches.finish(entry, "a", launch(), ENDED) == "held"


async def test_a_room_that_belongs_to_a_later_session_is_left_alone(redis: Redis, launches: Launches) -> None:
    entry = await claimed(redis)
    await redis.set(contract.room_key("room"), "s2")
    assert await launches.finish(entry, "a", launch(), ENDED) == "finished"
    assert await redis.get(contract.room_key("room")) == "s2"


# send_command


async def test_a_command_to_a_living_session_is_in_its_stream_with_a_group(redis: Redis) -> None:
    await claimed(redis)
    assert await Commands(redis).send("s1", "room", Leave(command_id="c1")) == "sent"
    assert await Commands(redis).send("s1", "room", Leave(command_id="c2")) == "sent"
    entries, groups = (await contents(redis))[contract.commands_key("s1")]
    assert len(entries) == 2
    assert list(groups) == [COMMANDS]


@pytest.mark.parametrize("session_id", ["s2", "nobody"])
async def test_a_command_to_a_session_that_has_not_the_room_is_refused(redis: Redis, session_id: str) -> None:
    await claimed(redis)
    before = await contents(redis)
    assert await Commands(redis).send(session_id, "room", Leave(command_id="c")) == "over"
    assert await contents(redis) == before


# publish


async def test_news_of_a_session_are_in_its_history_and_in_the_feed(redis: Redis) -> None:
    await claimed(redis)
    news = ColdStart(session_id="s1", attempt=1, launcher="process")
    assert await News(redis).publish(news)
    assert (await history(redis))[-1] == news
    assert await history(redis) == await feed(redis)


async def test_news_of_no_session_are_dropped(redis: Redis) -> None:
    assert not await News(redis).publish(ColdStart(session_id="s1", attempt=1, launcher="process"))
    assert await redis.keys() == []


# single commands that stand beside the scripts


async def test_standing_and_lease_follow_a_launch_from_offer_to_end(redis: Redis, launches: Launches) -> None:
    await launches.offer(launch(), queue_limit=10)
    [(entry, _)] = await launches.live(1)
    assert await launches.standing([(LAUNCH, entry)]) == ["waiting"]
    assert await lease_of(redis, entry) is None
    assert await launches.depth() == 1
    await streams.read_group(redis, CLAIMS, "a", {LAUNCH: ">"})
    lease = await lease_of(redis, entry)
    assert lease == Lease(entry, "a", lease.age_ms if lease else -1)
    assert await launches.standing([(LAUNCH, entry)]) == ["taken"]
    assert await launches.depth() == 0
    await launches.finish(entry, "a", launch(), ENDED)
    assert await launches.standing([(LAUNCH, entry)]) == ["gone"]
    assert await launches.standing([]) == []
    assert await launches.read(entry) is None


# happen


async def test_the_holder_writes_activity_to_the_fleets_and_the_sessions_stream_with_one_id(redis: Redis) -> None:
    claim = Claim(await claimed(redis), launch())
    before = await contents(redis)
    assert await ActivityLog(redis).write(claim, "a", [SPEAKS, SPEAKS])
    after = await contents(redis)
    fleets, _ = after.pop(contract.ACTIVITY)
    assert fleets == after.pop(contract.activity_key("s1"))[0]
    assert [fields for _, fields in fleets] == [{"json": encode(SPEAKS)}] * 2
    assert after == before
    assert 0 < await redis.ttl(contract.activity_key("s1")) <= contract.SESSION_KEPT_S


@pytest.mark.parametrize("case", ["another's", "nobody's", "gone"])
async def test_activity_without_the_lease_is_not_written(redis: Redis, launches: Launches, case: str) -> None:
    claim = Claim(await unheld(redis, launches, case), launch())
    before = await contents(redis)
    assert not await ActivityLog(redis).write(claim, "a", [SPEAKS])
    assert await contents(redis) == before


async def test_a_flood_of_activity_pushes_out_activity_alone(redis: Redis) -> None:
    claim = Claim(await claimed(redis), launch())
    before = await contents(redis)
    for _ in range(30):
        assert await ActivityLog(redis).write(claim, "a", [SPEAKS] * 100)
    assert await redis.xlen(contract.activity_key("s1")) < contract.SESSION_ACTIVITY_KEPT * 1.2
    after = await contents(redis)
    assert {key: after[key] for key in before} == before
