"""Commands reach whoever holds the session, in order, and their replies whoever waits."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from shared import contract
from shared.commands import Commands, Letter, Unreadable
from shared.contract import COMMANDS, FIELD, UNDONE_COMMANDS, Ended, Leave, Offer, Outcome, Reason, Reply, Say
from shared.inbox import Inbox
from shared.launches import Launches
from shared.redis import connection, streams
from shared.redis.blocking_reader import BlockingReader
from shared.redis.connection import Redis
from tests.launching import a_launch, offer, send


@pytest.fixture
async def inbox(redis: Redis) -> AsyncIterator[Inbox]:
    async with aclosing(Inbox(redis, "runner")) as opened:
        yield opened


CALLED_BACK_WITHIN_S = 4.0


@pytest.fixture
def _long_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that is not called back lasts so long that nobody could take its end for that."""
    read: Any = BlockingReader.read
    monkeypatch.setitem(read.__kwdefaults__, "block_s", CALLED_BACK_WITHIN_S + 1.0)


def say(text: str, **values: Any) -> Say:
    return Say(command_id=text, text=text, **values)


async def read_one(inbox: Inbox) -> Any:
    """The next command; empty answers are passed over."""
    async with asyncio.timeout(10):
        while not (read := await inbox.read()):
            pass
    [(_, _, command)] = read
    return command


async def test_commands_arrive_in_order_each_with_its_session(redis: Redis, inbox: Inbox) -> None:
    one, two = await offer(redis), await offer(redis)
    for launch in (one, two):
        assert await inbox.open(launch.session_id) == []
    for launch, text in ((one, "a"), (two, "b"), (one, "c")):
        await send(redis, launch, say(text))
    got = [(session, command) for session, _, command in await inbox.read()]
    assert sorted(got, key=str) == sorted(
        [(one.session_id, say("a")), (one.session_id, say("c")), (two.session_id, say("b"))], key=str
    )
    assert [command for session, command in got if session == one.session_id] == [say("a"), say("c")]


@pytest.mark.usefixtures("_long_reads")
async def test_a_session_that_opens_while_a_read_blocks_is_heard_by_that_read_or_the_next(
    redis: Redis, inbox: Inbox
) -> None:
    one, two = await offer(redis), await offer(redis)
    await inbox.open(one.session_id)
    reading = asyncio.create_task(read_one(inbox))
    await until_blocked(redis)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await inbox.open(two.session_id)
    await send(redis, two, say("a"))
    assert await reading == say("a")
    assert loop.time() - began < CALLED_BACK_WITHIN_S, "the read was not called back, it ended by itself"


@pytest.mark.usefixtures("_long_reads")
@pytest.mark.parametrize("turns", range(12))
async def test_a_session_that_opens_at_any_moment_of_a_read_is_heard(redis: Redis, inbox: Inbox, turns: int) -> None:
    """The read may be on its way to the server when the session opens."""
    one, two = await offer(redis), await offer(redis)
    await inbox.open(one.session_id)
    reading = asyncio.create_task(read_one(inbox))
    for _ in range(turns):
        await asyncio.sleep(0)
    await inbox.open(two.session_id)
    await send(redis, two, say("a"))
    async with asyncio.timeout(CALLED_BACK_WITHIN_S):
        assert await reading == say("a")


@pytest.mark.parametrize("turns", range(12))
async def test_the_last_session_may_close_at_any_moment_of_a_read(redis: Redis, inbox: Inbox, turns: int) -> None:
    one, two = await offer(redis), await offer(redis)
    await inbox.open(one.session_id)
    reading = asyncio.create_task(read_one(inbox))
    for _ in range(turns):
        await asyncio.sleep(0)
    inbox.close(one.session_id)
    await inbox.open(two.session_id)
    await send(redis, two, say("a"))
    assert await reading == say("a")


async def test_what_an_earlier_holder_left_undone_is_given_first_and_once(redis: Redis, inbox: Inbox) -> None:
    launch = await offer(redis)
    async with aclosing(Inbox(redis, "earlier")) as earlier:
        await earlier.open(launch.session_id)
        await send(redis, launch, say("done"))
        await send(redis, launch, say("undone"))
        [(_, first, command), _] = await earlier.read()
        await earlier.reply(
            launch.session_id, first, command, Reply(command_id="done", outcome=Outcome.DELIVERED), attempt=1
        )
    await send(redis, launch, say("unseen"))
    assert [command for _, command in await inbox.open(launch.session_id)] == [say("undone"), say("unseen")]
    await send(redis, launch, say("new"))
    assert await read_one(inbox) == say("new")


async def test_a_command_sent_before_anyone_listened_is_given_at_once(redis: Redis, inbox: Inbox) -> None:
    launch = await offer(redis)
    await send(redis, launch, say("early"))
    assert [command for _, command in await inbox.open(launch.session_id)] == [say("early")]


async def test_a_finished_session_does_not_keep_the_others_from_being_read(redis: Redis, inbox: Inbox) -> None:
    over, live = await offer(redis), await offer(redis)
    await inbox.open(over.session_id)
    await inbox.open(live.session_id)
    reading = asyncio.create_task(read_one(inbox))
    await until_blocked(redis)
    [(entry, _), _] = await Launches(redis).live(2)
    ended = Ended(session_id=over.session_id, attempt=1, reason=Reason.LEFT)
    assert await Launches(redis).finish(entry, "", over, ended) == "finished"
    await send(redis, live, say("a"))
    assert await reading == say("a")
    assert not await redis.exists(contract.commands_key(over.session_id))


async def test_a_session_that_ends_while_its_stream_is_looked_for_does_not_get_it_anew(
    redis: Redis, inbox: Inbox
) -> None:
    for turns in range(60):
        sessions = [str(turns), f"{turns} too"]
        for session_id in sessions:
            await inbox.open(session_id)
        await redis.delete(contract.commands_key(sessions[0]))
        looking = asyncio.create_task(inbox.read())
        for _ in range(turns):
            await asyncio.sleep(0)
        await redis.delete(contract.commands_key(sessions[1]))
        assert await looking == []
        for session_id in sessions:
            inbox.close(session_id)
    assert await redis.keys("{bot}:commands:*") == []


async def test_a_closed_session_is_not_read_and_stays_for_its_next_holder(redis: Redis, inbox: Inbox) -> None:
    closed, live = await offer(redis), await offer(redis)
    await inbox.open(closed.session_id)
    await inbox.open(live.session_id)
    inbox.close(closed.session_id)
    await send(redis, closed, say("a"))
    await send(redis, live, say("b"))
    assert await read_one(inbox) == say("b")
    assert await redis.xlen(contract.commands_key(closed.session_id)) == 1


@pytest.mark.parametrize(
    ("fields", "readable"),
    [
        ({FIELD: '{"type": "of tomorrow", "command_id": "c", "reply_to": "g"}'}, ("c", "g", "of tomorrow")),
        ({FIELD: '{"type": "say", "command_id": "c"}'}, ("c", None, "say")),
        ({FIELD: '{"command_id": 7}'}, ("", None, "")),
        ({FIELD: "not JSON"}, ("", None, "")),
        ({"other": "field"}, ("", None, "")),
    ],
)
async def test_a_command_that_cannot_be_read_is_given_as_such_and_blocks_nobody(
    redis: Redis, inbox: Inbox, fields: dict[str, str], readable: tuple[str, str | None, str]
) -> None:
    launch = await offer(redis)
    await inbox.open(launch.session_id)
    await redis.xadd(contract.commands_key(launch.session_id), cast("Any", fields))
    command_id, reply_to, kind = readable
    assert await read_one(inbox) == Unreadable(command_id=command_id, reply_to=reply_to, type=kind)
    await send(redis, launch, say("a"))
    assert await read_one(inbox) == say("a")


@pytest.mark.parametrize("reply_to", [None, "gateway-1"])
async def test_a_reply_takes_the_command_away_and_goes_to_the_gateway_that_waits(
    redis: Redis, inbox: Inbox, reply_to: str | None
) -> None:
    launch = await offer(redis)
    stream = contract.commands_key(launch.session_id)
    await inbox.open(launch.session_id)
    await send(redis, launch, say("a", reply_to=reply_to))
    [(session, entry, command)] = await inbox.read()
    await inbox.reply(
        session, entry, command, Reply(command_id="a", outcome=Outcome.DELIVERED, result={"x": 1}), attempt=1
    )
    assert await redis.xlen(stream) == 0
    assert (await pending(redis, stream))["pending"] == 0
    replies = await streams.between(redis, contract.replies_key("gateway-1"))
    assert len(replies) == (1 if reply_to else 0)
    if reply_to:
        assert '"outcome":"delivered"' in replies[0][1][FIELD]
        assert 0 < await redis.ttl(contract.replies_key("gateway-1")) <= contract.REPLIES_KEPT_S


async def test_a_command_to_a_session_that_is_over_is_not_accepted(redis: Redis) -> None:
    launch = a_launch()
    assert await Commands(redis).send(launch.session_id, launch.room_url, Leave(command_id="c")) == "over"


async def test_a_frozen_holder_that_reads_once_more_keeps_nothing_from_the_bot_and_puts_nothing_out_of_order(
    redis: Redis, inbox: Inbox
) -> None:
    """A runner wakes, reads a command with the next second's read, and learns only then that its lease is gone."""
    launch = await offer(redis)
    async with aclosing(Inbox(redis, "frozen")) as frozen:
        await frozen.open(launch.session_id)
        await inbox.open(launch.session_id)
        for text in ("a", "b"):
            await send(redis, launch, say(text))
            [(_, _, swallowed)] = await frozen.read()
            assert swallowed == say(text)
    await send(redis, launch, say("c"))
    assert [command for _, _, command in await inbox.read()] == [say("a"), say("b"), say("c")]


async def test_what_a_frozen_holder_has_read_is_taken_back_without_another_command(redis: Redis, inbox: Inbox) -> None:
    launch, other = await offer(redis), await offer(redis)
    async with aclosing(Inbox(redis, "frozen")) as frozen:
        await frozen.open(launch.session_id)
        await inbox.open(launch.session_id)
        await send(redis, launch, say("a"))
        await frozen.read()
    held = [launch.session_id, other.session_id]
    assert [command for _, _, command in await inbox.take_back(held)] == [say("a")]
    assert await inbox.take_back(held) == []


async def test_what_was_given_once_is_not_given_again_when_it_is_taken_back(redis: Redis, inbox: Inbox) -> None:
    launch = await offer(redis)
    await inbox.open(launch.session_id)
    await send(redis, launch, say("a"))
    assert await read_one(inbox) == say("a")
    async with aclosing(Inbox(redis, "frozen")) as frozen:
        assert [command for _, command in await frozen.open(launch.session_id)] == [say("a")]
    assert await inbox.take_back([launch.session_id]) == []


async def test_a_holder_that_opens_a_session_again_is_given_what_it_left_undone(redis: Redis, inbox: Inbox) -> None:
    """The next attempt of a session may be claimed by the runner that had the last one."""
    launch = await offer(redis)
    await inbox.open(launch.session_id)
    await send(redis, launch, say("a"))
    assert await read_one(inbox) == say("a")
    await inbox.hand_over(launch.session_id)
    assert [command for _, command in await inbox.open(launch.session_id)] == [say("a")]


async def test_an_attempt_that_ends_late_leaves_the_next_one_of_the_same_holder_its_commands(
    redis: Redis, inbox: Inbox
) -> None:
    """Cut off from Redis, a runner came back, claimed the session anew, and then wrote the end of its last attempt.

    With that nobody listened to the session any more, and its bot could not even be told to leave.
    """
    launch = await offer(redis)
    await inbox.open(launch.session_id, attempt=1)
    await send(redis, launch, say("a"))
    assert await read_one(inbox) == say("a")
    assert [command for _, command in await inbox.open(launch.session_id, attempt=2)] == [say("a")]
    await inbox.hand_over(launch.session_id, attempt=1)
    await send(redis, launch, say("b"))
    assert await read_one(inbox) == say("b")


async def test_a_thousand_undone_commands_are_all_given_to_the_next_holder_in_order(redis: Redis, inbox: Inbox) -> None:
    launch = await offer(redis)
    letters = [Letter(launch.session_id, launch.room_url, say(str(number))) for number in range(UNDONE_COMMANDS)]
    assert await Commands(redis).send_all(letters[:600]) == ["sent"] * 600
    async with aclosing(Inbox(redis, "earlier")) as earlier:
        assert len(await earlier.open(launch.session_id)) == 600
    assert await Commands(redis).send_all(letters[600:]) == ["sent"] * 400
    given = [command for _, command in await inbox.open(launch.session_id)]
    assert given == [letter.command for letter in letters]


async def test_too_many_undone_commands_are_refused_but_neither_a_client_nor_a_leave(redis: Redis) -> None:
    launch = await offer(redis)
    letters = [Letter(launch.session_id, launch.room_url, say(str(number))) for number in range(UNDONE_COMMANDS + 2)]
    assert await Commands(redis).send_all(letters) == ["sent"] * UNDONE_COMMANDS + ["full"] * 2
    send_one = Commands(redis).send
    offered = Offer(command_id="o", sdp="v=0", sdp_type="offer")
    assert await send_one(launch.session_id, launch.room_url, offered) == "sent"
    assert await send_one(launch.session_id, launch.room_url, Leave(command_id="l")) == "sent"


async def test_sending_to_many_says_of_each_what_became_of_it(redis: Redis) -> None:
    live, over = await offer(redis), a_launch()
    sent = await Commands(redis).send_all(
        [Letter(one.session_id, one.room_url, say("a")) for one in (live, over) for _ in range(120)]
    )
    assert sent == ["sent"] * 120 + ["over"] * 120


@pytest.mark.parametrize("foreign", ["4102444800000-1", "18446744073709551615-18446744073709551615"])
async def test_sending_to_many_reaches_one_with_an_id_of_the_future_in_its_way(any_redis: Redis, foreign: str) -> None:
    one, other = await offer(any_redis), await offer(any_redis)
    await any_redis.xadd(contract.commands_key(one.session_id), {FIELD: "{}"}, id=foreign)
    letters = [Letter(to.session_id, to.room_url, say("a")) for to in (one, other)]
    assert await Commands(any_redis).send_all(letters) == ["sent", "sent"]


async def test_sending_to_many_without_a_server_says_away_of_each(tmp_path: Path) -> None:
    async with connection.connect(f"unix://{tmp_path}/none", retries=0) as nowhere:
        launch = a_launch()
        assert await Commands(nowhere).send_all([Letter(launch.session_id, launch.room_url, say("a"))]) == ["away"]


async def test_a_command_is_due_by_the_servers_clock(redis: Redis, inbox: Inbox) -> None:
    launch = await offer(redis)
    await send(redis, launch, say("late", expires_s=30.0))
    await send(redis, launch, say("ever"))
    [(first, soon), (second, ever)] = await inbox.open(launch.session_id)
    due = inbox.due(first, soon)
    assert due is not None
    assert 29.0 < due - time.monotonic() <= 30.1
    assert inbox.due(second, ever) is None


async def pending(redis: Redis, stream: str) -> Any:
    return await redis.xpending(stream, COMMANDS)


async def until_blocked(redis: Redis) -> None:
    """Some client is in a blocking read."""
    async with asyncio.timeout(10):
        while (await redis.info("clients"))["blocked_clients"] == 0:
            await asyncio.sleep(0.001)
