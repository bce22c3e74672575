"""What was given up is kept whole, and comes back at most once; on both kinds of server."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from shared import contract, events
from shared.contract import DEAD, FIELD, LAUNCH, DeadLetter, Failure, Launch, Queued, Reason
from shared.dead_letters import DeadLetters, again
from shared.launches import EntryId, Launches, Offered, decode
from shared.redis.connection import Redis
from shared.redis.entries import encode
from shared.redis.streams import between
from tests.launching import a_launch
from tests.script_calls import strict_script_calls

DIED = Failure(attempt=1, reason=Reason.BOT_DIED, message="killed by SIGKILL")


@pytest.fixture
async def redis(any_redis: Redis) -> AsyncIterator[Redis]:
    async with strict_script_calls(any_redis):
        yield any_redis


@pytest.fixture
def letters(redis: Redis) -> DeadLetters:
    return DeadLetters(redis)


async def given_up(redis: Redis, **launch: Any) -> tuple[str, Launch]:
    """A dead letter, and its launch."""
    made = a_launch(failures=(DIED,), **launch)
    entry: Any = await redis.xadd(DEAD, {FIELD: encode(DeadLetter(launch=made))})
    return entry, made


async def contents(redis: Redis) -> dict[str, Any]:
    found: Any = await redis.keys()
    return {key: await (redis.get(key) if ":room:" in key else redis.xrange(key)) for key in sorted(found)}


def test_a_launch_again_is_what_was_asked_for_without_what_failed() -> None:
    launch = a_launch(
        "https://example.daily.co/room",
        transport="daily",
        token="secret",
        body={"a": [1]},
        labels={"team": "one"},
        attempt=3,
        failures=(DIED,),
    )
    assert again(launch, "new") == msgspec.structs.replace(
        launch, session_id="new", attempt=1, failures=(), redriven_from=launch.session_id
    )


def test_a_session_that_was_a_room_of_its_own_is_one_again() -> None:
    launch = a_launch(transport="webrtc")
    assert launch.room_url == f"webrtc://{launch.session_id}"
    assert again(launch, "new").room_url == "webrtc://new"


async def test_the_newest_letters_come_first(redis: Redis, letters: DeadLetters) -> None:
    ids = [(await given_up(redis))[0] for _ in range(3)]
    assert [letter_id for letter_id, _ in await letters.newest(2)] == [ids[2], ids[1]]


async def test_without_letters_the_list_is_empty(letters: DeadLetters) -> None:
    assert await letters.newest(10) == []


async def test_a_launch_that_no_runner_could_read_is_a_letter_with_what_it_was(
    redis: Redis, letters: DeadLetters
) -> None:
    await Launches(redis).ensure_group(contract.CLAIMS)
    await Launches(redis).discard(EntryId("1-0"), "", {FIELD: "{"})
    [(letter_id, letter)] = await letters.newest(10)
    assert letter == DeadLetter(unreadable='{"json":"{"}')
    assert await letters.read(letter_id) == letter


async def test_a_letter_that_cannot_be_read_itself_is_one_all_the_same(redis: Redis, letters: DeadLetters) -> None:
    await redis.xadd(DEAD, {FIELD: '{"launch": 7}'})
    [(_, letter)] = await letters.newest(10)
    assert letter.launch is None
    assert "launch" in letter.unreadable


NO_IDS = ["1-1", "x", "", "-", "+", "1", "1-*", "99999999999999999999-0", "٣-٣"]


@pytest.mark.parametrize("letter_id", NO_IDS)
async def test_an_id_of_no_letter_reads_and_deletes_nothing(redis: Redis, letters: DeadLetters, letter_id: str) -> None:
    await given_up(redis)
    assert await letters.read(letter_id) is None
    assert not await letters.delete(letter_id)
    assert await redis.xlen(DEAD) == 1


async def test_a_letter_is_deleted_once(redis: Redis, letters: DeadLetters) -> None:
    letter_id, _ = await given_up(redis)
    other_id, _ = await given_up(redis)
    assert await letters.delete(letter_id)
    assert not await letters.delete(letter_id)
    assert [kept for kept, _ in await letters.newest(10)] == [other_id]


async def test_a_redriven_letter_is_a_waiting_launch_and_gone_in_one_step(redis: Redis, letters: DeadLetters) -> None:
    letter_id, launch = await given_up(redis, labels={"team": "one"})
    following = again(launch, "new")
    assert await letters.redrive(letter_id, following, queue_limit=10) == Offered("queued", "new", 1)
    assert await letters.newest(10) == []
    [(entry, fields)] = await between(redis, LAUNCH)
    assert decode(fields) == following
    [(announced, event)] = await events.history(redis, "new")
    assert announced == entry
    assert isinstance(event, Queued)
    assert (event.attempt, event.reason, event.redriven_from) == (1, None, launch.session_id)
    assert event.labels == {"team": "one"}


async def test_the_deadline_of_a_redriven_launch_counts_from_its_own_entry(redis: Redis, letters: DeadLetters) -> None:
    """The launch entry is newer than the letter it came from, however old that is."""
    launch = a_launch(failures=(DIED,))
    await redis.xadd(DEAD, {FIELD: encode(DeadLetter(launch=launch))}, id="1-0")
    began, _ = await redis.time()
    await letters.redrive("1-0", again(launch, "new"), queue_limit=10)
    [(entry, _)] = await between(redis, LAUNCH)
    assert int(entry.partition("-")[0]) >= began * 1000


async def test_a_redrive_that_is_repeated_answers_the_same_and_changes_nothing(
    redis: Redis, letters: DeadLetters
) -> None:
    """As when its answer was lost, and the client sends it again."""
    letter_id, launch = await given_up(redis)
    following = again(launch, "new")
    first = await letters.redrive(letter_id, following, queue_limit=10)
    before = await contents(redis)
    assert await letters.redrive(letter_id, following, queue_limit=10) == first
    assert await contents(redis) == before


@pytest.mark.parametrize("room_url", ["", "https://example.daily.co/room"], ids=["a room of its own", "a named room"])
async def test_of_20_redrives_at_once_one_is_a_session_and_the_others_find_the_letter_gone(
    redis: Redis, letters: DeadLetters, room_url: str
) -> None:
    letter_id, launch = await given_up(redis, room_url=room_url)
    wanted = [again(launch, str(uuid.uuid4())) for _ in range(20)]
    answers = await asyncio.gather(*(letters.redrive(letter_id, one, queue_limit=100) for one in wanted))
    assert sorted(answer.outcome for answer in answers) == ["gone"] * 19 + ["queued"]
    assert await redis.xlen(LAUNCH) == 1


async def test_a_letter_whose_room_has_a_session_stays_and_the_session_is_named(
    redis: Redis, letters: DeadLetters
) -> None:
    letter_id, launch = await given_up(redis, room_url="room")
    live = a_launch("room")
    await Launches(redis).offer(live, queue_limit=10)
    before = await contents(redis)
    assert await letters.redrive(letter_id, again(launch, "new"), queue_limit=10) == Offered(
        "reused", live.session_id, 0
    )
    assert await contents(redis) == before


async def test_a_letter_that_finds_the_queue_full_stays(redis: Redis, letters: DeadLetters) -> None:
    letter_id, launch = await given_up(redis)
    await Launches(redis).offer(a_launch(), queue_limit=1)
    before = await contents(redis)
    assert await letters.redrive(letter_id, again(launch, "new"), queue_limit=1) == Offered("full", "", 1)
    assert await contents(redis) == before


async def test_a_letter_that_was_deleted_meanwhile_offers_nothing(redis: Redis, letters: DeadLetters) -> None:
    letter_id, launch = await given_up(redis)
    await letters.delete(letter_id)
    before = await contents(redis)
    assert await letters.redrive(letter_id, again(launch, "new"), queue_limit=10) == Offered("gone", "", 0)
    assert await contents(redis) == before


async def test_an_offer_of_a_join_touches_no_letter(redis: Redis, letters: DeadLetters) -> None:
    letter_id, launch = await given_up(redis, room_url="room")
    await Launches(redis).offer(a_launch("room"), queue_limit=10)
    assert await letters.newest(10) == [(letter_id, DeadLetter(launch=launch))]
