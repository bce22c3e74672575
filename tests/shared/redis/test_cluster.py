"""A node of a Redis Cluster: all keys are in one slot, and every script says beforehand which it needs."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from redis.crc import key_slot
from redis.exceptions import ClusterCrossSlotError

from shared import contract, events, presence
from shared.activity import ActivityLog
from shared.buckets import Buckets, Rate
from shared.claims import Claims
from shared.commands import Commands
from shared.contract import (
    DEAD,
    LAUNCH,
    ColdStart,
    Ended,
    Failed,
    Failure,
    Launch,
    Outcome,
    Reason,
    Reply,
    Running,
    Say,
    Speaking,
)
from shared.dead_letters import DeadLetters, again
from shared.events import News
from shared.inbox import Inbox
from shared.launches import Claim, Launches, after
from shared.redis.connection import Redis, connect
from shared.sweep import Sweep
from tests.launching import a_launch, offer
from tests.leases import lease_of
from tests.presences import a_presence
from tests.processes import free_port
from tests.redis_server import EMBEDDED, RedisServer
from tests.script_calls import SCRIPTS, strict_script_calls
from tests.sweeping import LEASE_S, grow_stale, sweep_for_a_lease
from tests.waiting import until


@pytest.fixture(scope="module")
def cluster_url(_servers: Any) -> Iterator[str]:
    """One node that has all slots."""
    with TemporaryDirectory(prefix="pipefleet-test-") as folder:
        port, bus = str(free_port()), str(free_port())
        options = ["--port", port, "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--cluster-port", bus]
        server = RedisServer(EMBEDDED, Path(folder), *options)
        server.start()
        try:
            with server.client() as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.kill()


@pytest.fixture
async def redis(cluster_url: str) -> AsyncIterator[Redis]:
    async with connect(cluster_url) as client:
        anything: Any = client

        async def takes_writes() -> bool:
            return bool((await anything.execute_command("CLUSTER INFO"))["cluster_state"] == "ok")

        await until(takes_writes)
        await client.flushall()
        yield client


def test_all_keys_are_in_one_slot() -> None:
    keys = [contract.LAUNCH, contract.EVENTS, contract.ACTIVITY, contract.RUNNERS, contract.DEAD, contract.ROOMS]
    keys += [make("any {name} of a room}") for make in KEY_MAKERS]
    assert {key_slot(key.encode()) for key in keys} == {key_slot(b"bot")}


KEY_MAKERS = (
    contract.session_key,
    contract.activity_key,
    contract.commands_key,
    contract.drain_key,
    contract.replies_key,
    contract.room_key,
    lambda name: contract.rate_key("join", name),
)


async def test_a_node_that_would_refuse_two_slots_at_once_takes_every_script_and_operation(redis: Redis) -> None:
    with pytest.raises(ClusterCrossSlotError):
        await redis.xread({"{a}": "0", "{b}": "0"})
    async with strict_script_calls(redis) as calls:
        await the_life_of_sessions(redis)
    assert {call.name for call in calls if call.touched} == set(SCRIPTS.values())


async def the_life_of_sessions(redis: Redis) -> None:
    """Every operation of `shared`, at least once."""
    launches, letters, claims = Launches(redis), DeadLetters(redis), Claims(redis, "runner-1")
    inbox = Inbox(redis, "runner-1")
    try:
        claim = await a_claim(redis, claims)
        await a_command(redis, claim.launch, inbox)
        await the_reports_of_a_runner(redis, claim)
        following = after(claim.launch, Failure(attempt=1, reason=Reason.BOT_DIED), 3)
        assert isinstance(following, Launch)
        assert await launches.settle(claim, "runner-1", following)
        second = await claims.next()
        assert second
        failed = Failed(session_id=second.launch.session_id, attempt=2, reason=Reason.BOT_ERROR)
        assert await launches.settle(second, "runner-1", failed)
        await a_redrive(letters)
        third = await claims.next()
        assert third
        ended = Ended(session_id=third.launch.session_id, attempt=1, reason=Reason.COMPLETED)
        assert await launches.settle(third, "runner-1", ended)
        adopted = await launches.adopt(a_launch(), "runner-1")
        assert isinstance(adopted, Claim)
        await a_sweep(redis, adopted)
        assert await Buckets(redis).spend([(contract.rate_key("join", "key"), Rate(1, 2), 1)]) == [1]
    finally:
        await claims.aclose()
        await inbox.aclose()


async def a_claim(redis: Redis, claims: Claims) -> Claim:
    launch = await offer(redis)
    claim = await claims.next()
    assert claim
    assert claim.launch == launch
    launches = Launches(redis)
    assert await launches.find(launch.room_url) == launch.session_id
    assert await launches.standing([(LAUNCH, claim.entry)]) == ["taken"]
    assert await launches.depth() == 0
    assert await lease_of(redis, claim.entry)
    assert await launches.held("runner-1")
    return claim


async def a_command(redis: Redis, launch: Launch, inbox: Inbox) -> None:
    say = Say(command_id="c1", text="Hello", reply_to="gateway-1")
    assert await inbox.open(launch.session_id) == []
    assert await Commands(redis).send(launch.session_id, launch.room_url, say) == "sent"
    [(session_id, entry, command)] = await inbox.read()
    assert (session_id, command) == (launch.session_id, say)
    await inbox.reply(session_id, entry, command, Reply(command_id="c1", outcome=Outcome.DELIVERED), attempt=1)
    assert await redis.xlen(contract.replies_key("gateway-1")) == 1
    inbox.close(launch.session_id)


async def the_reports_of_a_runner(redis: Redis, claim: Claim) -> None:
    session_id = claim.launch.session_id
    assert await Launches(redis).renew("runner-1", [claim.entry]) == []
    assert await Launches(redis).report(claim, "runner-1", Running(session_id=session_id, attempt=1))
    assert await News(redis).publish(ColdStart(session_id=session_id, attempt=1, launcher="process"))
    assert await ActivityLog(redis).write(
        claim, "runner-1", [Speaking(session_id=session_id, attempt=1, who="bot", what="started")]
    )
    assert [len(history) for history in await events.histories(redis, [session_id, "none"])] == [4, 0]
    here = a_presence()
    await presence.announce(redis, here)
    assert await presence.present(redis) == [here]


async def a_redrive(letters: DeadLetters) -> None:
    [(letter_id, letter)] = await letters.newest(10)
    assert letter.launch
    assert await letters.read(letter_id) == letter
    assert (await letters.redrive(letter_id, again(letter.launch, "new"), queue_limit=10)).outcome == "queued"
    assert not await letters.delete(letter_id)


async def a_sweep(redis: Redis, stale: Claim) -> None:
    """It takes the lease away, which is the last attempt: a dead letter."""
    await grow_stale(redis, stale, "runner-1")
    await sweep_for_a_lease(Sweep(redis, lease_s=LEASE_S, max_attempts=1))
    assert await redis.xlen(DEAD) == 1
    assert await Launches(redis).live(10) == []
