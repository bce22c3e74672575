"""Several agents in one fleet, as Redis has them: streams of their own, and nothing lost of one that is no more."""

from contextlib import aclosing
from typing import Any

import pytest

from shared import agents, contract
from shared.claims import Claims
from shared.contract import CLAIMS, DEAD, Ended, Failed, Failure, Launch, Reason, launch_stream
from shared.dead_letters import DeadLetters, again
from shared.errors import SettingsError
from shared.events import history
from shared.launches import Launches, after
from shared.redis.connection import Redis
from shared.settings import FleetSettings, load
from shared.sweep import CONSUMER_GONE_S, Sweep
from tests.launching import a_launch, offer
from tests.script_calls import strict_script_calls
from tests.sweeping import LEASE_S, grow_stale, sweep_for_a_lease


def test_bots_are_read_by_the_names_of_their_agents() -> None:
    text = "sales=bots/sales.py, support = acme.support ,"
    assert agents.parse(text) == {"sales": "bots/sales.py", "support": "acme.support"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sales", "got 'sales'"),
        ("sales=", "got 'sales='"),
        ("=bot.py", "name"),
        ("Sales=bot.py", "got 'Sales'"),
        ("-a=bot.py", "got '-a'"),
        ("a/b=bot.py", "got 'a/b'"),
        ("a:b=bot.py", "got 'a:b'"),
        (f"{'a' * 64}=bot.py", "up to 63"),
        ("a=bot.py,a=other.py", "'a' is there twice"),
    ],
)
def test_a_bad_list_of_bots_is_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        agents.parse(text)


def test_a_bad_list_of_bots_stops_every_service_with_the_variables_name() -> None:
    with pytest.raises(SettingsError, match=r"^BOTS: expected agent=bot pairs.*got 'x'$"):
        load(FleetSettings, {"BOTS": "x"})


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, ("",)),
        ({"BOT": "bot.py"}, ("",)),
        ({"BOTS": "a=a.py,b=b.py"}, ("a", "b")),
        ({"BOT": "bot.py", "BOTS": "a=a.py"}, ("", "a")),
    ],
)
def test_a_fleet_whose_every_bot_has_a_name_has_no_default_agent(
    environ: dict[str, str], names: tuple[str, ...]
) -> None:
    assert load(FleetSettings, environ).agents == names


async def claim_one(redis: Redis, *served: str, holder: str = "me") -> Any:
    async with aclosing(Claims(redis, holder, served)) as claims:
        return await claims.next(wait_s=0.01)


async def test_a_launch_is_given_to_a_runner_that_has_its_agent_and_to_no_other(any_redis: Redis) -> None:
    launch = await offer(any_redis, agent="sales")
    assert await claim_one(any_redis, "") is None
    assert await claim_one(any_redis, "support") is None
    claim = await claim_one(any_redis, "support", "sales")
    assert claim.launch == launch


async def test_of_several_agents_the_launch_that_has_waited_longest_comes_first(any_redis: Redis) -> None:
    names = ["b", "a", "", "a", "b", ""]
    offered = [await offer(any_redis, agent=name) for name in names]
    async with aclosing(Claims(any_redis, "me", ["", "a", "b"])) as claims:
        claimed = [await claims.next(wait_s=0.01) for _ in names]
        assert [claim.launch for claim in claimed if claim] == offered
        assert await claims.next(wait_s=0.01) is None
    assert {launch.attempt for launch in offered} == {1}


async def test_a_later_attempt_of_any_agent_comes_before_fresh_launches_and_keeps_its_agent(any_redis: Redis) -> None:
    lost = await offer(any_redis, agent="b")
    claim = await claim_one(any_redis, "b")
    await offer(any_redis, agent="a")
    following = after(lost, Failure(attempt=1, reason=Reason.RUNNER_LOST), 3)
    assert await Launches(any_redis).settle(claim, "me", following)
    again_claimed = await claim_one(any_redis, "a", "b")
    assert (again_claimed.launch.session_id, again_claimed.launch.attempt) == (lost.session_id, 2)
    assert again_claimed.launch.agent == "b"
    assert await any_redis.xlen(launch_stream("b", 2)) == 1
    assert await Launches(any_redis, ["a", "b"]).renew("me", [again_claimed.entry]) == []


async def test_a_session_of_an_agent_leaves_nothing_in_its_streams(any_redis: Redis) -> None:
    launch = await offer(any_redis, agent="sales")
    claim = await claim_one(any_redis, "sales")
    ended = Ended(session_id=launch.session_id, attempt=1, reason=Reason.COMPLETED)
    assert await Launches(any_redis).settle(claim, "me", ended)
    assert sorted(await any_redis.keys()) == [
        contract.AGENTS,
        contract.EVENTS,
        launch_stream("sales", 1),
        launch_stream("sales", 2),
        contract.session_key(launch.session_id),
    ]
    assert await Launches(any_redis).live(10) == []


async def test_the_flood_of_one_agent_refuses_no_caller_of_another(redis: Redis) -> None:
    launches = Launches(redis)
    for _ in range(2):
        assert (await launches.offer(a_launch(agent="sales"), queue_limit=2)).outcome == "queued"
    assert (await launches.offer(a_launch(agent="sales"), queue_limit=2)).outcome == "full"
    assert (await launches.offer(a_launch(agent="support"), queue_limit=2)).depth == 1
    assert await launches.depth() == 3
    assert await launches.depth(agents=["support", "nobody's"]) == 1


async def test_live_sessions_are_those_of_all_agents_or_of_one(redis: Redis) -> None:
    for name in ("sales", "", "sales"):
        await offer(redis, agent=name)
    launches = Launches(redis)
    assert [len(await launches.live(10, agent=name)) for name in (None, "", "sales", "none")] == [3, 1, 2, 0]


async def test_a_redriven_launch_keeps_its_agent(redis: Redis) -> None:
    await offer(redis, agent="sales")
    claim = await claim_one(redis, "sales")
    failed = Failed(session_id=claim.launch.session_id, attempt=1, reason=Reason.BOT_ERROR)
    assert await Launches(redis).settle(claim, "me", failed)
    letters = DeadLetters(redis)
    [(letter_id, letter)] = await letters.newest(1)
    assert letter.launch
    assert (await letters.redrive(letter_id, again(letter.launch, "new"), queue_limit=1)).outcome == "queued"
    assert (await claim_one(redis, "sales")).launch.session_id == "new"


async def test_a_launch_of_an_agent_that_nobody_has_any_more_still_fails_at_its_deadline(any_redis: Redis) -> None:
    launch = await offer(any_redis, agent="removed", deadline_s=0.0)
    await Sweep(any_redis, lease_s=1.0, max_attempts=3).sweep(100.0)
    *_, (_, last) = await history(any_redis, launch.session_id)
    assert isinstance(last, Failed)
    assert last.reason is Reason.DEADLINE


async def test_a_stale_lease_of_an_agent_that_nobody_has_any_more_is_freed(any_redis: Redis) -> None:
    launch = await offer(any_redis, agent="removed")
    claim = await claim_one(any_redis, "removed")
    await grow_stale(any_redis, claim, "me")
    await sweep_for_a_lease(Sweep(any_redis, lease_s=LEASE_S, max_attempts=3))
    [(entry, _)] = await Launches(any_redis).live(10)
    following = await Launches(any_redis).read(entry, agent="removed")
    assert following
    assert (following.session_id, following.attempt) == (launch.session_id, 2)


async def test_an_unreadable_launch_of_an_agent_becomes_a_dead_letter(redis: Redis) -> None:
    await Launches(redis, ["sales"]).ensure_group(CLAIMS)
    await redis.xadd(launch_stream("sales", 1), {"json": "{"})
    await redis.xadd(launch_stream("sales", 1), {"json": '{"session_id": "s", "room_url": "r", "attempt": 1}'})
    async with aclosing(Claims(redis, "me", ["sales"])) as claims:
        assert [await claims.next(wait_s=0.01) for _ in range(2)] == [None, None]
    assert await redis.xlen(launch_stream("sales", 1)) == 0
    assert await redis.xlen(DEAD) == 2


async def test_the_consumers_of_runners_that_are_gone_are_dropped_from_every_agents_streams(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.sweep.CONSUMER_GONE_S", 0.0)
    assert CONSUMER_GONE_S
    assert await claim_one(redis, "sales") is None
    stream = launch_stream("sales", 1)
    assert len(await redis.xinfo_consumers(stream, CLAIMS)) == 1
    await Sweep(redis, lease_s=1.0, max_attempts=3).sweep(100.0)
    assert await redis.xinfo_consumers(stream, CLAIMS) == []


async def test_the_scripts_name_no_key_of_an_agent_that_they_were_not_given(redis: Redis) -> None:
    async with strict_script_calls(redis) as calls:
        launch = await offer(redis, agent="sales")
        claim = await claim_one(redis, "sales", "support")
        adopted = await Launches(redis, ["sales"]).adopt(a_launch(agent="sales"), "me")
        assert not isinstance(adopted, str | None)
        for held in (claim, adopted):
            following = after(held.launch, Failure(attempt=1, reason=Reason.BOT_DIED), 3)
            assert isinstance(following, Launch)
            assert await Launches(redis).settle(held, "me", following)
        await Sweep(redis, lease_s=1.0, max_attempts=3).sweep(100.0)
    assert launch.agent == "sales"
    assert {"offer", "claim", "adopt", "requeue", "overdue"} <= {call.name for call in calls}


async def test_claiming_begins_anew_on_a_server_that_has_lost_everything(any_redis: Redis) -> None:
    async with aclosing(Claims(any_redis, "me", ["", "sales"])) as claims:
        assert await claims.next(wait_s=0.01) is None
        await any_redis.flushall()
        assert await claims.next(wait_s=0.01) is None
        launch = await offer(any_redis, agent="sales")
        claim = await claims.next(wait_s=0.01)
        assert claim
        assert claim.launch == launch
