"""What nobody sees to any more is found and mended, and nothing else is."""

import asyncio
import time

import msgspec
import pytest

from shared import events, presence
from shared.contract import DEAD, FIELD, LAUNCH, RUNNERS, DeadLetter, Failed, Launch, Queued, Reason
from shared.launches import Claim, EntryId, Launches
from shared.redis.connection import Redis
from shared.redis.entries import encode
from shared.redis.streams import between
from shared.sweep import CONSUMER_GONE_S, TOGETHER, Sweep, Uninterrupted, past_deadline, takes_turn
from tests.launching import a_launch, claimed, offer
from tests.leases import lease_of
from tests.presences import a_presence
from tests.sweeping import A_LEASE, LEASE_S, grow_stale, sweep_for_a_lease
from tests.waiting import until

SHORT_LEASE_S = 1.0
"""For sweepers that go by the clock."""


def a_sweep(redis: Redis, max_attempts: int = 3, lease_s: float = LEASE_S) -> Sweep:
    return Sweep(redis, lease_s=lease_s, max_attempts=max_attempts)


async def abandoned(redis: Redis) -> Claim:
    claim = await claimed(redis, "gone")
    await grow_stale(redis, claim, "gone")
    return claim


async def last_event(redis: Redis, launch: Launch) -> object:
    return (await events.history(redis, launch.session_id))[-1][1]


async def test_a_lease_that_nobody_renews_becomes_the_next_attempt(any_redis: Redis) -> None:
    claim = await abandoned(any_redis)
    await sweep_for_a_lease(a_sweep(any_redis))
    event = await last_event(any_redis, claim.launch)
    assert isinstance(event, Queued)
    assert (event.attempt, event.reason) == (2, Reason.RUNNER_LOST)
    assert await Launches(any_redis).depth() == 1


async def test_a_lease_that_is_renewed_is_left_alone(any_redis: Redis) -> None:
    claim = await claimed(any_redis, "alive")
    sweep = a_sweep(any_redis)
    for now in A_LEASE:
        await grow_stale(any_redis, claim, "alive")
        assert await Launches(any_redis).renew("alive", [claim.entry]) == []
        await sweep.sweep(now)
    lease = await lease_of(any_redis, claim.entry)
    assert lease is not None
    assert lease.holder == "alive"


async def test_nothing_is_stale_before_the_server_has_answered_for_a_whole_lease(redis: Redis) -> None:
    claim = await abandoned(redis)
    await a_sweep(redis).sweep(A_LEASE[-1])
    assert await lease_of(redis, claim.entry) is not None


@pytest.mark.parametrize(
    ("answers", "enough"),
    [
        ([("a", 0)], False),
        ([("a", 0), ("a", 9), ("a", 19)], False),
        ([("a", 0), ("a", 10), ("a", 20)], True),
        ([("a", 0), ("a", 10), ("b", 20)], False),
        ([("a", 0), ("b", 10), ("b", 20), ("b", 30)], True),
        ([("a", 0), ("a", 11), ("a", 20)], False),
        ([("a", 0), ("a", 11), ("a", 21), ("a", 31)], True),
    ],
)
def test_only_one_server_without_a_gap_counts_as_uninterrupted(answers: list[tuple[str, float]], enough: bool) -> None:
    service = Uninterrupted()
    for run_id, at in answers:
        service = service.seen(run_id, at, (1000.0, 1000.0), lease_s=20)
    assert service.long_enough(lease_s=20) is enough


@pytest.mark.parametrize(
    ("ahead", "enough"),
    [
        pytest.param(
            [(1000, 1000), (999, 1000), (1000, 1001)], True, id="a clock that is read a little sooner or later"
        ),
        pytest.param([(1000, 1000), (990, 1000), (1000, 1010)], True, id="one whose time was long on its way"),
        pytest.param([(1000, 1000), (1004, 1004), (1008, 1008)], True, id="one set by less than bots stop too soon"),
        pytest.param([(1000, 1000), (1000, 1000), (1006, 1007)], False, id="one that was set forward"),
        pytest.param([(1000, 1000), (1000, 1000), (993, 994)], False, id="one that was set back"),
        pytest.param([(1000, 1000), (1060, 1060), (1060, 1060)], False, id="one that was set less than a lease ago"),
        pytest.param([(1000, 1000), *[(1060, 1060)] * 3], True, id="one that was set a lease ago"),
    ],
)
def test_a_server_whose_clock_was_set_does_not_count_as_uninterrupted(
    ahead: list[tuple[float, float]], enough: bool
) -> None:
    """A clock that went forward by a lease took every call in the fleet from the bot that had it."""
    service = Uninterrupted()
    for number, ahead_s in enumerate(ahead):
        service = service.seen("a", 10.0 * number, ahead_s, lease_s=20)
    assert service.long_enough(lease_s=20) is enough


async def test_a_sweeper_knows_the_clock_of_its_server(any_redis: Redis) -> None:
    sweep = a_sweep(any_redis)
    ours = time.time() - time.monotonic()
    await sweep.sweep(time.monotonic())
    least, most = sweep._uninterrupted.ahead_s
    assert least - 0.1 < ours < most + 0.1
    asked_at = time.monotonic()
    sweep._saw(*await sweep._server(), asked_at, time.monotonic())
    least, most = sweep._uninterrupted.ahead_s
    assert least - 0.1 < ours < most + 0.1


async def test_the_last_attempt_that_is_lost_is_a_dead_letter_with_all_reasons(any_redis: Redis) -> None:
    claim = await abandoned(any_redis)
    await sweep_for_a_lease(a_sweep(any_redis, max_attempts=1))
    event = await last_event(any_redis, claim.launch)
    assert isinstance(event, Failed)
    assert event.reason is Reason.RUNNER_LOST
    ((_, fields),) = await between(any_redis, DEAD)
    letter = msgspec.json.decode(fields["json"], type=DeadLetter)
    assert letter.launch is not None
    assert [failure.reason for failure in letter.launch.failures] == [Reason.RUNNER_LOST]
    assert await any_redis.exists(f"{{bot}}:room:{claim.launch.room_url}") == 0


async def test_two_sweepers_mend_one_lease_once(redis: Redis) -> None:
    claim = await abandoned(redis)
    one, other = a_sweep(redis), a_sweep(redis)
    await sweep_for_a_lease(one, other)
    history = await events.history(redis, claim.launch.session_id)
    assert [event.attempt for _, event in history] == [1, 2]
    assert one.repairs["lease_freed"] + other.repairs["lease_freed"] == 1


async def test_a_launch_that_nobody_took_in_time_fails(any_redis: Redis) -> None:
    launch = await offer(any_redis, deadline_s=0.01)
    patient = await offer(any_redis, deadline_s=60.0)
    sweep = a_sweep(any_redis)
    await asyncio.sleep(0.05)
    await sweep.sweep(time.monotonic())
    event = await last_event(any_redis, launch)
    assert isinstance(event, Failed)
    assert (event.reason, event.message) == (Reason.DEADLINE, "no runner took the launch within 0.01 s")
    assert isinstance(await last_event(any_redis, patient), Queued)
    assert sweep.repairs == {"lease_freed": 0, "past_deadline": 1}


async def test_a_launch_that_was_taken_has_no_deadline(any_redis: Redis) -> None:
    claim = await claimed(any_redis, deadline_s=0.01)
    await asyncio.sleep(0.05)
    await a_sweep(any_redis).sweep(time.monotonic())
    assert isinstance(await last_event(any_redis, claim.launch), Queued)


@pytest.mark.parametrize(("waited_ms", "late"), [(0, False), (59_999, False), (60_000, True)])
def test_a_deadline_counts_from_the_entry(waited_ms: int, late: bool) -> None:
    assert past_deadline(EntryId("1000000-3"), a_launch(deadline_s=60.0), 1_000_000 + waited_ms) is late


async def test_a_clock_that_is_set_forward_takes_no_launch_its_time(any_redis: Redis) -> None:
    """All that waited failed at once, as if no runner had come for as long as the clock had gone forward."""
    an_hour_ms = 3_600_000
    sweep, newcomer = a_sweep(any_redis), a_sweep(any_redis)
    await sweep._look(LAUNCH)
    asked_at = time.monotonic()
    run_id, server_ms = await sweep._server()
    entry = f"{int(server_ms) - an_hour_ms}-0"
    await any_redis.xadd(LAUNCH, {FIELD: encode(a_launch(deadline_s=60.0))}, id=entry)
    sweep._saw(run_id, server_ms - an_hour_ms, asked_at, asked_at)
    for _ in range(2):
        await sweep.sweep(time.monotonic())
        assert [id_ for id_, _ in await between(any_redis, LAUNCH)] == [entry]
    await newcomer.sweep(time.monotonic())
    assert await between(any_redis, LAUNCH) == []


@pytest.mark.parametrize(("set_ms", "late"), [(1_000_000, True), (1_000_001, False), (2_000_000, False)])
def test_a_deadline_counts_from_when_the_clock_was_set_forward(set_ms: int, late: bool) -> None:
    assert past_deadline(EntryId("1-0"), a_launch(deadline_s=60.0), 1_060_000, set_ms) is late


async def test_a_runner_that_is_gone_is_forgotten_where_the_clock_was_set_back(any_redis: Redis) -> None:
    """Every runner of the last hour was in the fleet's picture for as long as the clock had gone back."""
    ahead_ms = int((time.time() + 3600) * 1000)
    gone, living = a_presence("gone"), a_presence("living")
    await any_redis.xadd(RUNNERS, {FIELD: encode(gone)}, id=f"{ahead_ms}-0")
    await presence.announce(any_redis, living)
    await a_sweep(any_redis).sweep(time.monotonic())
    await presence.announce(any_redis, living)
    assert await presence.present(any_redis) == [living]
    await a_sweep(any_redis).sweep(time.monotonic())
    assert await presence.present(any_redis) == [living]


async def test_a_consumer_that_is_gone_is_dropped_unless_it_holds_a_lease(
    any_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await claimed(any_redis, "holding")
    await any_redis.xgroup_createconsumer(LAUNCH, "runners", "idle")
    await a_sweep(any_redis).sweep(time.monotonic())
    assert await consumers(any_redis) == {"holding", "idle"}
    monkeypatch.setattr("shared.sweep.CONSUMER_GONE_S", 0.0)
    await a_sweep(any_redis).sweep(time.monotonic())
    assert await consumers(any_redis) == {"holding"}
    assert CONSUMER_GONE_S > 60


async def consumers(redis: Redis) -> set[str]:
    return {str(consumer["name"]) for consumer in await redis.xinfo_consumers(LAUNCH, "runners")}


@pytest.mark.parametrize(
    ("runners", "chance", "sweeps"),
    [(0, 0.999, True), (TOGETHER, 0.999, True), (1000, 0.003, True), (1000, 0.005, False)],
)
def test_many_runners_together_sweep_as_often_as_a_few(runners: int, chance: float, sweeps: bool) -> None:
    assert takes_turn(runners, chance) is sweeps


async def crowd(redis: Redis, *, said: int, consumers: int) -> None:
    """Runners that have said so much, and that have asked for launches."""
    async with redis.pipeline(transaction=False) as pipe:
        for _ in range(said):
            pipe.xadd(RUNNERS, {"json": "{}"})
        for number in range(consumers):
            pipe.xgroup_createconsumer(LAUNCH, "runners", f"runner-{number}")
        await pipe.execute()


async def is_free(redis: Redis, claim: Claim) -> bool:
    return await lease_of(redis, claim.entry) is None


async def test_a_runner_among_many_sweeps_only_in_its_turn_and_then_needs_no_other_lease_to_be_certain(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = await claimed(redis)
    await crowd(redis, said=4 * 100, consumers=100)
    monkeypatch.setattr("shared.sweep.random.random", lambda: 0.5)
    sweep = a_sweep(redis, lease_s=2 * SHORT_LEASE_S)
    running = asyncio.create_task(sweep.run(SHORT_LEASE_S / 20, in_turn=True))
    await until(lambda: sweep._uninterrupted.long_enough(2.2 * SHORT_LEASE_S))
    assert not await is_free(redis, claim)
    assert sweep.rounds["done"] == 0
    monkeypatch.setattr("shared.sweep.random.random", lambda: 0.01)
    await until(lambda: sweep.rounds["done"])
    assert await is_free(redis, claim)
    running.cancel()
    await asyncio.wait({running})


@pytest.mark.parametrize(("said", "consumers"), [(400, 2), (8, 100)], ids=["that say much", "that are mostly dead"])
async def test_a_few_runners_sweep_each_time(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, said: int, consumers: int
) -> None:
    claim = await claimed(redis)
    await crowd(redis, said=said, consumers=consumers)
    monkeypatch.setattr("shared.sweep.random.random", lambda: 0.5)
    running = asyncio.create_task(a_sweep(redis, lease_s=SHORT_LEASE_S).run(SHORT_LEASE_S / 20, in_turn=True))
    await until(lambda: is_free(redis, claim))
    running.cancel()
    await asyncio.wait({running})
