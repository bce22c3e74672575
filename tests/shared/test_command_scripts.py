"""Every branch of what the scripts do with commands, seen on both kinds of server."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared import contract, events
from shared.contract import (
    COMMANDS,
    EVENTS,
    FIELD,
    AnyEvent,
    CommandDone,
    CommandReason,
    Ended,
    Failed,
    Launch,
    Leave,
    Offer,
    Outcome,
    Reason,
    Reply,
    Say,
    commands_key,
    replies_key,
)
from shared.errors import Unavailable
from shared.inbox import Inbox
from shared.launches import Launches
from shared.redis import streams
from shared.redis.connection import Redis
from shared.redis.entries import Decoder
from shared.script import Script
from tests.launching import claimed, send
from tests.script_calls import strict_script_calls

_reply = Decoder[Reply](Reply)


@pytest.fixture
async def redis(any_redis: Redis) -> AsyncIterator[Redis]:
    async with strict_script_calls(any_redis):
        yield any_redis


async def held(redis: Redis) -> Launch:
    """A launch that runner `a` has."""
    return (await claimed(redis, "a")).launch


async def fates(redis: Redis, launch: Launch) -> list[CommandDone]:
    return [event for event in await history(redis, launch) if isinstance(event, CommandDone)]


async def history(redis: Redis, launch: Launch) -> list[AnyEvent]:
    return [event for _, event in await events.history(redis, launch.session_id)]


async def replies(redis: Redis, gateway: str = "g") -> list[Reply]:
    return [_reply(fields) for _, fields in await streams.between(redis, replies_key(gateway))]


async def finish(redis: Redis, event: Ended | Failed | None = None) -> Launch:
    """End the only session."""
    [(entry, fields)] = await Launches(redis).live(1)
    launch = Decoder[Launch](Launch)(fields)
    event = event or Ended(session_id=launch.session_id, attempt=1, reason=Reason.LEFT)
    assert await Launches(redis).finish(entry, "a", launch, event) == "finished"
    return launch


# send_command


async def test_a_command_is_accepted_once_however_often_it_is_sent_at_a_time(redis: Redis) -> None:
    """The client repeats a call whose answer did not come."""
    launch = await held(redis)
    for number in "112":
        await send(redis, launch, Say(command_id=number, text="x"))
    assert await redis.xlen(commands_key(launch.session_id)) == 2


async def test_a_stream_that_is_full_takes_no_more_and_a_room_of_another_session_takes_nothing(redis: Redis) -> None:
    launch = await held(redis)
    script = Script(redis, "send_command")
    keys = [contract.room_key(launch.room_url), commands_key(launch.session_id)]
    assert [await script(keys, [launch.session_id, text, COMMANDS, 2, 50_000]) for text in "abc"] == [
        "sent",
        "sent",
        "full",
    ]
    assert await script(keys, ["another", "d", COMMANDS, 9, 50_000]) == "over"
    assert await script(keys, [launch.session_id, "x" * 60_000, COMMANDS, 9, 50_000]) == "full"
    assert await redis.xlen(commands_key(launch.session_id)) == 2


# take_commands


async def take(redis: Redis, *streams_: str, own: bool = False) -> list[Any]:
    """What runner `a` is given."""
    taken: list[Any]
    now_ms, *taken = await Script(redis, "take_commands")([*streams_], [COMMANDS, "a", int(own)])
    assert abs(now_ms / 1000 - time.time()) < 60
    return taken


async def given_to(redis: Redis, launch: Launch, holder: str) -> list[str]:
    """Read all that is new as this holder; the entry ids."""
    found = await streams.read_group(redis, COMMANDS, holder, {commands_key(launch.session_id): ">"})
    return [entry for _, entries in found for entry, _ in entries]


async def test_what_others_were_given_is_taken_in_order_and_what_is_ones_own_stays(redis: Redis) -> None:
    launch = await held(redis)
    stream = commands_key(launch.session_id)
    ids = []
    for number, holder in enumerate(["a", "b", "c", "b"]):
        await send(redis, launch, Say(command_id=str(number), text="x"))
        ids += await given_to(redis, launch, holder)
    [(number, *flat)] = await take(redis, "nothing", stream)
    assert number == 2
    assert flat[::2] == ids[1:]
    assert [json.loads(text)["command_id"] for text in flat[1::2]] == ["1", "2", "3"]
    rows: Any = await redis.xpending_range(stream, COMMANDS, "-", "+", 10)
    assert [row["consumer"] for row in rows] == ["a"] * 4
    assert await take(redis, stream) == []


async def test_who_begins_takes_what_it_had_itself_too_and_then_what_nobody_had(redis: Redis) -> None:
    launch = await held(redis)
    stream = commands_key(launch.session_id)
    await send(redis, launch, Say(command_id="1", text="x"))
    ids = await given_to(redis, launch, "a")
    await send(redis, launch, Say(command_id="2", text="x"))
    [(_, *flat)] = await take(redis, stream, own=True)
    assert flat[:1] == ids
    assert [json.loads(text)["command_id"] for text in flat[1::2]] == ["1", "2"]
    assert await given_to(redis, launch, "a") == []


async def test_who_begins_with_a_session_without_commands_is_given_what_comes(redis: Redis) -> None:
    launch = await held(redis)
    stream = commands_key(launch.session_id)
    assert await take(redis, stream, own=True) == []
    await send(redis, launch, Say(command_id="1", text="x"))
    assert len(await given_to(redis, launch, "a")) == 1


async def test_who_begins_with_a_session_while_the_server_is_full_can_begin_later(redis: Redis) -> None:
    """It was told that there is no such group, which no other try would mend: the bot never heard a command."""
    launch = await held(redis)
    stream = commands_key(launch.session_id)
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable):
            await take(redis, stream, own=True)
    finally:
        await redis.config_set("maxmemory", 0)
    assert await take(redis, stream, own=True) == []


async def test_a_command_that_is_done_by_now_is_not_taken(redis: Redis) -> None:
    launch = await held(redis)
    stream = commands_key(launch.session_id)
    await send(redis, launch, Say(command_id="1", text="x"))
    [entry] = await given_to(redis, launch, "b")
    await redis.xdel(stream, entry)
    assert await take(redis, stream) == []


async def test_nothing_is_taken_where_nothing_was_given_or_nothing_is(redis: Redis) -> None:
    launch = await held(redis)
    await send(redis, launch, Say(command_id="1", text="x"))
    assert await take(redis, commands_key(launch.session_id), "nothing") == []
    assert not await redis.exists("nothing")


# conclude_command


@pytest.mark.parametrize("reply_to", [None, "g"])
async def test_a_fate_is_written_once_with_its_reply_and_the_command_is_gone(
    redis: Redis, reply_to: str | None
) -> None:
    launch = await held(redis)
    command = Say(command_id="c", text="secret", reply_to=reply_to)
    await send(redis, launch, command)
    inbox = Inbox(redis, "a")
    [(entry, _)] = await inbox.open(launch.session_id)
    reply = Reply(command_id="c", outcome=Outcome.UNHANDLED, reason=CommandReason.NO_PIPELINE, message="none")
    for outcome in (reply, Reply(command_id="c", outcome=Outcome.DELIVERED)):
        await inbox.reply(launch.session_id, entry, command, outcome, attempt=2)
    await inbox.aclose()
    assert await fates(redis, launch) == [
        CommandDone(
            session_id=launch.session_id,
            attempt=2,
            command_id="c",
            kind="say",
            outcome=Outcome.UNHANDLED,
            reason=CommandReason.NO_PIPELINE,
            message="none",
        )
    ]
    assert [event for _, event in events.decode(await streams.between(redis, EVENTS))] == await history(redis, launch)
    assert await redis.xlen(commands_key(launch.session_id)) == 0
    assert (await redis.xpending(commands_key(launch.session_id), COMMANDS))["pending"] == 0
    assert await replies(redis) == ([reply] if reply_to else [])


async def test_signalling_has_a_reply_and_no_event(redis: Redis) -> None:
    launch = await held(redis)
    command = Offer(command_id="o", sdp="v=0", sdp_type="offer", reply_to="g")
    await send(redis, launch, command)
    inbox = Inbox(redis, "a")
    [(entry, _)] = await inbox.open(launch.session_id)
    await inbox.reply(launch.session_id, entry, command, Reply(command_id="o", outcome=Outcome.DELIVERED), attempt=1)
    await inbox.aclose()
    assert await fates(redis, launch) == []
    assert len(await replies(redis)) == 1


async def test_a_command_of_a_session_that_is_over_gets_no_second_fate(redis: Redis) -> None:
    launch = await held(redis)
    command = Say(command_id="c", text="x")
    await send(redis, launch, command)
    inbox = Inbox(redis, "a")
    [(entry, _)] = await inbox.open(launch.session_id)
    await finish(redis)
    before = await history(redis, launch)
    await inbox.reply(launch.session_id, entry, command, Reply(command_id="c", outcome=Outcome.DELIVERED), attempt=1)
    await inbox.aclose()
    assert await history(redis, launch) == before


# finish


async def test_the_end_of_a_session_gives_every_undone_command_its_fate_and_whoever_waits_a_reply(
    redis: Redis,
) -> None:
    launch = await held(redis)
    await send(redis, launch, Say(command_id="waited", text="secret", reply_to="g"))
    await send(redis, launch, Say(command_id="unwaited", text="secret"))
    failed = Failed(session_id=launch.session_id, attempt=1, reason=Reason.BOT_ERROR, message="ValueError: no")
    await finish(redis, failed)
    what: dict[str, Any] = {
        "outcome": Outcome.FAILED,
        "reason": CommandReason.SESSION_OVER,
        "message": "The session is over: bot_error: ValueError: no",
    }
    about: dict[str, Any] = {"session_id": launch.session_id, "attempt": 1, "kind": "say"}
    assert (await history(redis, launch))[-3:] == [
        CommandDone(command_id="waited", **about, **what),
        CommandDone(command_id="unwaited", **about, **what),
        failed,
    ]
    assert await replies(redis) == [Reply(command_id="waited", **what)]
    assert 0 < await redis.ttl(replies_key("g")) <= contract.REPLIES_KEPT_S
    assert [event for _, event in events.decode(await streams.between(redis, EVENTS))] == await history(redis, launch)


async def test_a_leave_is_delivered_by_the_end_and_signalling_has_no_event(redis: Redis) -> None:
    launch = await held(redis)
    await send(redis, launch, Leave(command_id="l", reply_to="g"))
    await send(redis, launch, Offer(command_id="o", sdp="v=0", sdp_type="offer", reply_to="g"))
    await finish(redis)
    [fate] = await fates(redis, launch)
    assert (fate.command_id, fate.kind, fate.outcome, fate.reason) == ("l", "leave", Outcome.DELIVERED, None)
    assert [(reply.command_id, reply.outcome) for reply in await replies(redis)] == [
        ("l", Outcome.DELIVERED),
        ("o", Outcome.FAILED),
    ]


@pytest.mark.parametrize(("expires_s", "outcome"), [(5.0, Outcome.EXPIRED), (500.0, Outcome.FAILED)])
async def test_at_the_end_a_command_has_expired_or_not_by_the_age_of_its_entry(
    redis: Redis, expires_s: float, outcome: Outcome
) -> None:
    launch = await held(redis)
    text = f'{{"type":"say","command_id":"c","expires_s":{expires_s},"text":"x","reply_to":"g"}}'
    await redis.xadd(commands_key(launch.session_id), {FIELD: text}, id=f"{int(time.time() * 1000) - 60_000}-0")
    await finish(redis)
    [fate], [reply] = await fates(redis, launch), await replies(redis)
    assert fate.outcome is reply.outcome is outcome
    assert (fate.reason is None) == (outcome is Outcome.EXPIRED)


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        ({FIELD: "not JSON"}, ("", "")),
        ({FIELD: ""}, ("", "")),
        ({FIELD: "[1, 2]"}, ("", "")),
        ({FIELD: "null"}, ("", "")),
        ({FIELD: "[" * 100_000}, ("", "")),
        ({FIELD: '{"command_id":"c","type":"custom","data":' + "[" * 2000 + "]" * 2000 + "}"}, ("", "")),
        ({FIELD: '{"command_id":"c","type":"custom","data":' + "[" * 500 + "]" * 500 + "}"}, ("c", "custom")),
        ({FIELD: '{"command_id":"c","type":"custom","data":"' + "x" * 1_000_000 + '"}'}, ("c", "custom")),
        ({FIELD: '{"command_id":"c","type":"custom","data":"\\ud800","expires_s":"soon"}'}, ("", "")),
        ({FIELD: '{"command_id":7,"type":null,"reply_to":{},"expires_s":[]}'}, ("", "")),
        ({FIELD: '{"command_id":"a\\"b","type":"x\\n","reply_to":"*"}'}, ("", "")),
        ({FIELD: '{"command_id":"' + "c" * 201 + '","type":"say","expires_s":1e999}'}, ("", "say")),
        ({"other": "field", "and": "one more"}, ("", "")),
    ],
    ids=range(13),
)
async def test_no_command_is_so_odd_that_its_session_could_not_end(
    redis: Redis, fields: dict[str, str], known: tuple[str, str]
) -> None:
    launch = await held(redis)
    stream: Any = fields
    await redis.xadd(commands_key(launch.session_id), stream)
    await send(redis, launch, Say(command_id="after", text="x"))
    await finish(redis)
    odd, after = await fates(redis, launch)
    assert (odd.command_id, odd.kind, odd.reason) == (*known, CommandReason.SESSION_OVER)
    assert after.command_id == "after"
    assert (await history(redis, launch))[-1].attempt == 1
    assert not await redis.exists(commands_key(launch.session_id))


async def test_a_reply_that_cannot_be_written_does_not_keep_a_session_from_its_end(redis: Redis) -> None:
    launch = await held(redis)
    await redis.set(replies_key("g"), "no stream")
    await send(redis, launch, Say(command_id="c", text="x", reply_to="g"))
    await finish(redis)
    assert [fate.command_id for fate in await fates(redis, launch)] == ["c"]


async def test_more_commands_than_are_looked_at_together_all_get_their_fate_in_order(redis: Redis) -> None:
    launch = await held(redis)
    for number in range(250):
        await send(redis, launch, Say(command_id=str(number), text="x"))
    await finish(redis)
    assert [fate.command_id for fate in await fates(redis, launch)] == [str(number) for number in range(250)]
