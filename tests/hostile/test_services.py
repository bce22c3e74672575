"""A fleet of real processes whose streams somebody writes into by hand goes on serving sessions."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis.asyncio as raw_redis

from shared import contract
from shared.contract import CLAIMS, COMMANDS, CommandDone, CommandReason, Ended, Running
from shared.events import history
from tests.conftest import StartFleet
from tests.contract.test_golden import MESSAGES
from tests.gateway.sse_client import listening
from tests.hostile.entries import URLS, Fields, malformed, odd, written
from tests.launching import SCRIPTED, a_launch, records
from tests.operator.webhooks.receiver import a_receiver
from tests.processes import Child, Fleet
from tests.waiting import until

FUTURE = ("4102444800000-1", "18446744073709551615-18446744073709551615")
"""In the year 2100; and the largest id that there is, after which nothing can be added."""
MOST_LINES = 4
"""What one entry may have the services write into their logs, at most and on average."""
ROUTES = (
    "/sessions",
    "/sessions/{id}",
    "/fleet",
    "/dead",
    "/v1/agents/default/sessions",
    "/metrics",
    "/readyz",
    "/status",
)


@dataclass
class Ground:
    """A fleet with a session that was there before, and all of its processes."""

    fleet: Fleet
    redis: "raw_redis.Redis"
    children: list[Child]
    bystander: str
    record: Path
    answers: list[tuple[str, int]]

    async def look(self) -> None:
        """Ask everything that reads streams."""
        for route in ROUTES:
            answer = await self.fleet.http.get(route.replace("{id}", self.bystander))
            self.answers.append((route, answer.status_code))
        async with self.fleet.http.stream("GET", "/events", params={"last_event_id": "0-0_0-0"}) as events:
            async for _ in events.aiter_bytes():
                break
            self.answers.append(("/events", events.status_code))

    async def pour(self, stream: str, entries: Iterable[Fields], ids: Iterable[str] = ()) -> int:
        """Write entries into a stream; those after them get ids from the future, where the stream still takes these."""
        poured = 0
        async with self.redis.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.xadd(stream, entry)  # type: ignore[arg-type]
                poured += 1
            for id_ in ids:
                pipe.xadd(stream, {b"json": b"{"}, id=id_)
                poured += 1
            await pipe.execute(raise_on_error=False)
        return poured

    def lines(self) -> int:
        return sum(child.output().count("\n") for child in self.children)


@pytest.fixture
async def ground(fleet_of: StartFleet, redis_url: str, tmp_path: Path) -> AsyncIterator[Ground]:
    record = tmp_path / "record"
    env = {"BOT_RECORD": str(record), "STOP_GRACE": "2", "OVERFLOW_GRACE": "0.3", "COLD_MAX": "1", "LEASE": "8"}
    env |= {"RENEW_EVERY": "1", "FENCE": "5"}
    async with a_receiver() as receiver, raw_redis.Redis.from_url(redis_url) as client:
        hook = {"WEBHOOK_URL": receiver.url, "WEBHOOK_ALLOW_PRIVATE": "1"}
        async with fleet_of(bot=SCRIPTED, slots=3, operator=False, **env) as fleet:
            operator = fleet.start("operator", **hook, WEBHOOK_SECRET="whsec_" + "c2VjcmV0" * 4)
            bystander = (await fleet.join(wait_s=20, transport="none", body={"do": "stay"}))["session_id"]
            yield Ground(fleet, client, [fleet.gateway, operator, *fleet.runners], bystander, record, [])


def of_type(kind: str) -> list[msgspec.Struct]:
    """The messages of ours that stand in a stream of this kind."""
    bases: dict[str, Any] = {
        "events": contract.AnyEvent,
        "activity": contract.AnyActivity,
        "commands": contract.AnyCommand,
        "replies": contract.Reply,
        "runners": contract.Presence,
        "dead": contract.DeadLetter,
        "webhooks:dead": contract.DeadWebhook,
        "rooms": contract.RoomNote,
    }
    return [message for message in MESSAGES if isinstance(message, bases[kind])]


async def streams_of(ground: Ground) -> dict[str, list[msgspec.Struct]]:
    """Every stream that a service reads, with what belongs there."""
    launch = a_launch(body={"do": "return"})
    replies: list[Any] = await ground.redis.keys("{bot}:replies:*")
    gateways = [key.decode() for key in replies]
    return {
        "{bot}:launch": [launch],
        "{bot}:relaunch": [msgspec.structs.replace(launch, attempt=2)],
        contract.EVENTS: of_type("events"),
        contract.session_key(ground.bystander): [],
        contract.ACTIVITY: of_type("activity"),
        contract.activity_key(ground.bystander): of_type("activity"),
        contract.commands_key(ground.bystander): [],
        contract.RUNNERS: of_type("runners"),
        contract.DEAD: of_type("dead"),
        contract.DEAD_WEBHOOKS: of_type("webhooks:dead"),
        contract.ROOMS: of_type("rooms"),
        **{gateway: of_type("replies") for gateway in gateways or [contract.replies_key("g")]},
    }


async def served(ground: Ground) -> None:
    """A normal session, from the request to its end, with a command in it."""
    joined = await ground.fleet.join(wait_s=20, transport="none", body={"do": "stay"})
    assert joined["status"] == "running", joined
    session_id = joined["session_id"]
    await ground.fleet.event(session_id, Running)
    sent = await ground.fleet.http.post("/admin", json={"session_id": session_id, "message": "hello", "wait": 10})
    assert (sent.status_code, sent.json()["reason"]) == (200, "no_pipeline")
    assert (await ground.fleet.http.delete(f"/sessions/{session_id}")).is_success
    assert (await ground.fleet.event(session_id, Ended)).reason == "left"


async def undisturbed(ground: Ground) -> None:
    """The session that was there before has had one bot, and it is still there; nothing is stuck."""
    assert [child.exit_code for child in ground.children] == [None] * len(ground.children)
    assert not [answer for answer in ground.answers if answer[1] >= 500]
    entered = [line.attempt for line in records(ground.record) if line.session_id == ground.bystander]
    assert entered == [1]

    async def nothing_but_the_bystander() -> bool:
        left = [await ground.redis.xlen(stream) for stream in ("{bot}:launch", "{bot}:relaunch")]
        held: Any = await ground.redis.xpending("{bot}:launch", CLAIMS)
        return bool(left == [1, 0] and held["pending"] == 1)

    await until(nothing_but_the_bystander, within_s=15)
    assert await ground.redis.exists(contract.session_key(ground.bystander))


async def test_entries_that_nobody_can_read_stop_nobody(ground: Ground) -> None:
    chance, before, poured, unreadable = random.Random(7), ground.lines(), 0, 0  # noqa: S311
    for stream, messages in (await streams_of(ground)).items():
        message = chance.choice(messages or [a_launch()])
        entries = list(malformed(message))
        poured += await ground.pour(stream, entries)
        unreadable += len(entries) if "launch" in stream else 0
    await ground.look()
    await served(ground)

    async def all_are_letters() -> bool:
        letters = (await ground.fleet.http.get("/dead", params={"limit": 1000})).json()["dead"]
        return len([one for one in letters if one["unreadable"]]) >= unreadable

    await until(all_are_letters)

    async def all_have_a_fate() -> bool:
        events = [event for _, event in await history(ground.fleet.redis, ground.bystander)]
        fates = [event for event in events if isinstance(event, CommandDone)]
        left: int = await ground.redis.xlen(contract.commands_key(ground.bystander))
        return left == 0 and {fate.reason for fate in fates} == {CommandReason.UNREADABLE} and len(fates) >= 15

    await until(all_have_a_fate)
    await ground.look()
    await undisturbed(ground)
    assert ground.lines() - before < MOST_LINES * poured


async def test_ids_from_the_future_stop_nobody(ground: Ground) -> None:
    for id_ in FUTURE:
        for stream in await streams_of(ground):
            await ground.pour(stream, [], [id_])
        await ground.look()
        await served(ground)
    await undisturbed(ground)
    now_ms = (await ground.redis.time())[0] * 1000

    async def set_back() -> bool:
        fixed = ["{bot}:launch", "{bot}:relaunch", contract.EVENTS, contract.RUNNERS, contract.DEAD, contract.ROOMS]
        there = [stream for stream in fixed if await ground.redis.exists(stream)]
        last = [(await ground.redis.xinfo_stream(stream))["last-generated-id"] for stream in there]
        return all(int(one.split(b"-")[0]) < now_ms + 600_000 for one in last)

    await until(set_back)


async def test_a_launch_in_the_stream_of_another_agent_or_attempt_becomes_a_dead_letter(ground: Ground) -> None:
    launch = a_launch(body={"do": "return"})
    other = [msgspec.structs.replace(launch, attempt=2), msgspec.structs.replace(launch, agent="sales")]
    await ground.pour("{bot}:launch", [written(msgspec.to_builtins(one)) for one in other])

    async def letters() -> bool:
        found = (await ground.fleet.http.get("/dead")).json()["dead"]
        return [letter["unreadable"] for letter in found] == [True, True]

    await until(letters)
    await undisturbed(ground)


async def test_a_session_whose_commands_were_deleted_by_hand_hears_the_next_ones(ground: Ground) -> None:
    for delete in (ground.redis.delete, ground_group_destroyed(ground)):
        await delete(contract.commands_key(ground.bystander))
        sent = await ground.fleet.http.post(
            "/admin", json={"session_id": ground.bystander, "message": "hello", "wait": 15}
        )
        assert (sent.status_code, sent.json().get("reason")) == (200, "no_pipeline"), sent.text
    await undisturbed(ground)


def ground_group_destroyed(ground: Ground) -> Callable[[str], Awaitable[Any]]:
    async def destroy(stream: str) -> Any:
        return await ground.redis.xgroup_destroy(stream, COMMANDS)

    return destroy


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_poured_into_every_stream_sessions_are_served(ground: Ground, seed: int) -> None:
    chance, poured, before = random.Random(seed), 0, ground.lines()  # noqa: S311
    for _ in range(4):
        for stream, messages in (await streams_of(ground)).items():
            for message in chance.sample(messages, min(3, len(messages))):
                entries = [*malformed(message), *odd(message, chance, 15)]
                chance.shuffle(entries)
                poured += await ground.pour(stream, entries, chance.sample(FUTURE, chance.randrange(2)))
        launches = [written({**msgspec.to_builtins(a_launch(body={"do": "return"})), "room_url": url}) for url in URLS]
        poured += await ground.pour("{bot}:launch", launches)
        await ground.look()
        await served(ground)
    await undisturbed(ground)
    assert ground.lines() - before < MOST_LINES * poured


async def test_the_events_of_a_feed_with_an_id_from_the_future_go_on(ground: Ground) -> None:
    """Readers that had read the future entry waited for a later one for ever."""
    async with listening(ground.fleet.http, "/events") as feed:
        await feed.placed()
        await ground.pour(contract.EVENTS, [], FUTURE[:1])
        session_id = (await ground.fleet.join(wait_s=20, transport="none"))["session_id"]
        async with asyncio.timeout(15):
            while (await feed.next()).data.get("session_id") != session_id:
                pass
