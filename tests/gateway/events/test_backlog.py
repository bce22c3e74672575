import pytest

from services.gateway.events import backlog
from services.gateway.events.backlog import PAGE, Gap
from services.gateway.events.positions import Position, parse
from services.gateway.events.told import Told
from shared.contract import ACTIVITY, EVENTS, FIELD, Running, Speaking
from shared.redis.connection import Redis
from shared.redis.entries import encode, time_of

STATE = encode(Running(session_id="s1", attempt=1))
SPEECH = encode(Speaking(session_id="s1", attempt=1, who="user", what="started"))


async def write(redis: Redis, *, states: range, activity: range) -> None:
    """Entries at these milliseconds."""
    async with redis.pipeline(transaction=False) as pipe:
        for at in states:
            pipe.xadd(EVENTS, {FIELD: STATE}, id=f"{at}-0")
        for at in activity:
            pipe.xadd(ACTIVITY, {FIELD: SPEECH}, id=f"{at}-0")
        await pipe.execute()


async def everything(redis: Redis, position: Position) -> tuple[list[Told], list[Gap], Position]:
    told, gaps, more = list[Told](), list[Gap](), True
    while more:
        page = await backlog.after(redis, None, position)
        assert len(page.told) <= 2 * PAGE
        told += page.told
        gaps += page.gaps
        position, more = page.end, page.more
    return told, gaps, position


async def test_page_by_page_both_streams_are_read_once_and_in_the_order_of_time(redis: Redis) -> None:
    await write(redis, states=range(1, 3000, 3), activity=range(1, 2000))
    told, gaps, end = await everything(redis, Position())
    at = [(one.entry[0], one.is_state) for one in told]
    assert at == sorted(at)
    assert len(set(at)) == len(at) == 1000 + 1999
    assert gaps == []
    assert end == Position((2998, 0), (1999, 0)) == await backlog.newest(redis)
    assert told[-1].position == end


@pytest.mark.parametrize("cut", [1, 700, 2100, 2998])
async def test_every_event_says_where_to_go_on_so_that_nothing_is_missed_or_told_twice(redis: Redis, cut: int) -> None:
    await write(redis, states=range(1, 3000, 3), activity=range(1, 2000))
    told, _, _ = await everything(redis, Position())
    rest, _, _ = await everything(redis, parse(str(told[cut].position)))
    assert [one.entry for one in rest] == [one.entry for one in told[cut + 1 :]]


async def test_entries_that_this_version_does_not_know_are_passed_over(redis: Redis) -> None:
    await redis.xadd(EVENTS, {FIELD: '{"type":"tomorrow","session_id":"s1","attempt":1}'}, id="1-0")
    await write(redis, states=range(2, 3), activity=range(0))
    told, gaps, end = await everything(redis, Position())
    assert [one.entry for one in told] == [(2, 0)]
    assert (gaps, end) == ([], Position((2, 0)))


async def test_a_stream_that_lost_what_was_not_read_is_a_gap_and_the_other_is_not(redis: Redis) -> None:
    await write(redis, states=range(1, 11), activity=range(1, 11))
    await redis.xtrim(ACTIVITY, maxlen=3, approximate=False)
    told, gaps, _ = await everything(redis, Position((2, 0), (2, 0)))
    assert gaps == [Gap("activity", (2, 0), (8, 0))]
    assert len(told) == 8 + 3
    assert (await everything(redis, Position((10, 0), (8, 0))))[1] == []


async def test_a_server_that_came_back_with_less_is_read_from_what_it_has(redis: Redis) -> None:
    await write(redis, states=range(1, 4), activity=range(1, 4))
    told, gaps, end = await everything(redis, Position((9, 0), (2, 0)))
    assert gaps == [Gap("events", (9, 0), (3, 0))]
    assert [one.entry[0] for one in told if one.is_state] == [1, 2, 3]
    assert [one.entry[0] for one in told if not one.is_state] == [3]
    assert end == Position((3, 0), (3, 0))


@pytest.mark.parametrize("text", ["", "1-0", "1-0_2-0 ", "-1-0_0-0", "1-0_x-0", f"0-0_0-{2**64}", "٣-0_0-0", "1_2"])
def test_what_is_no_position_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match="must be the id of an event"):
        parse(text)


def test_the_last_number_that_redis_can_count_to_is_in_no_position() -> None:
    """It cannot read on behind it: the answer broke off at its beginning, and an `EventSource` came back for ever."""
    with pytest.raises(ValueError, match="must be the id of an event"):
        parse(f"{2**64 - 1}-{2**64 - 1}_0-0")


def test_a_position_is_its_text() -> None:
    position = Position((1769860800250, 3), (2**64 - 2, 2**64 - 2))
    assert parse(str(position)) == position
    assert time_of(position.activity).startswith("9999-12-31")
