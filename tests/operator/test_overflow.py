"""A launch that no warm runner takes gets a cold runner, whatever happens to operators and to runners."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.operator import overflow, portion
from services.operator.launcher import ColdRunner, Outlook, Trouble
from services.operator.overflow import MAX_FAILURES, Overflow, Waiting, back_off_s, decide
from services.operator.processes import CLAIM_WITHIN_S, Processes, outlook
from services.operator.settings import OperatorSettings
from services.operator.share import Share
from shared.claims import Claims
from shared.contract import LAUNCH, OVERFLOW, ColdStart, Launch
from shared.events import history
from shared.launches import EntryId, Launches, Standing
from shared.process.lifecycle import Shutdown
from shared.redis.connection import Redis, connect
from shared.redis.entries import encode
from tests.processes import session_event
from tests.redis_server import EMBEDDED, RedisServer
from tests.waiting import until

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
FAILURE = [sys.executable, "-c", "raise SystemExit(3)"]
SETTINGS = OperatorSettings(overflow_grace_s=0.05)
ABANDONED_S = 1.5


class Runner:
    """A cold runner of the table tests."""

    outlook = Outlook()


def waiting(**values: Any) -> Waiting:
    return Waiting(**{"entry": "1-0", "session_id": "s", "attempt": 1, "not_before": 10.0, "look_at": 0.0, **values})


@pytest.mark.parametrize(
    ("held", "standing", "room", "now", "step"),
    [
        pytest.param(waiting(), "taken", 1, 99.0, "let_go", id="a claimed launch needs no cold runner"),
        pytest.param(waiting(), "gone", 1, 99.0, "let_go", id="a launch that is over needs no cold runner"),
        pytest.param(waiting(), "taken", 0, 0.0, "let_go", id="it is let go before the grace too"),
        pytest.param(waiting(), "waiting", 1, 9.9, "wait", id="warm runners have the grace for themselves"),
        pytest.param(waiting(), "waiting", 1, 10.0, "start", id="after the grace a cold runner is started"),
        pytest.param(waiting(), "waiting", 0, 10.0, "wait", id="not more cold runners than allowed"),
        pytest.param(waiting(), "waiting", -1, 10.0, "wait", id="nor when there are already too many"),
        pytest.param(waiting(runner=Runner()), "waiting", 1, 9999.0, "wait", id="one cold runner is enough"),
        pytest.param(
            waiting(failures=MAX_FAILURES - 1), "waiting", 1, 10.0, "start", id="failures are tolerated up to a limit"
        ),
        pytest.param(waiting(failures=MAX_FAILURES), "waiting", 1, 10.0, "wait", id="beyond the limit none is started"),
        pytest.param(
            waiting(failures=MAX_FAILURES), "taken", 1, 10.0, "let_go", id="a warm runner may still take a given-up one"
        ),
    ],
)
def test_what_is_done_about_a_launch(held: Waiting, standing: Standing, room: int, now: float, step: str) -> None:
    assert decide(held, standing, room, now) == step


def test_each_failure_doubles_the_back_off() -> None:
    assert [back_off_s(failures) for failures in range(1, MAX_FAILURES)] == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (0, None),
        (3, Trouble("Error", "the cold runner exited with code 3")),
        (-9, Trouble("Killed", "the cold runner was killed by SIGKILL")),
    ],
)
def test_an_exit_code_says_how_a_cold_runner_ended(code: int, trouble: Trouble | None) -> None:
    assert outlook(code, 0.0) == Outlook(coming=False, trouble=trouble)


@pytest.mark.parametrize(("lived_s", "coming"), [(0.0, True), (CLAIM_WITHIN_S - 0.1, True), (CLAIM_WITHIN_S, False)])
def test_a_process_that_lives_for_long_while_its_launch_waits_has_taken_another_one(
    lived_s: float, coming: bool
) -> None:
    assert outlook(None, lived_s).coming is coming


class Recorded(Processes):
    """Real processes, and a note of what each was started for."""

    def __init__(self, cold_max: int, command: list[str]) -> None:
        super().__init__(cold_max, command, hand_back_s=5)
        self.started: list[str] = []
        self.runners: list[ColdRunner] = []

    async def start(self, session_id: str, attempt: int, changed: Callable[[], None]) -> Any:
        self.started.append(session_id)
        runner = await super().start(session_id, attempt, changed)
        self.runners.append(runner)
        return runner


class Operator:
    """One operator in this process, with its cold runners."""

    def __init__(self, redis: Redis, name: str, command: list[str], settings: OperatorSettings) -> None:
        self.processes = Recorded(settings.cold_max, command)
        self.name = name
        self.stop = asyncio.Event()
        self.share = Share(redis, name)
        self.overflow = Overflow(redis, self.share, self.processes, settings)
        self.task = asyncio.create_task(self.overflow.run(self.stop))

    async def aclose(self) -> None:
        self.stop.set()
        try:
            await self.task
        except asyncio.CancelledError:
            pass
        finally:
            shutdown = Shutdown()
            shutdown.insisted.set()
            await self.processes.stop(shutdown)
            await self.share.aclose()


@asynccontextmanager
async def operators(
    redis: Redis, *names: str, command: list[str] = SLEEPER, settings: OperatorSettings = SETTINGS
) -> AsyncIterator[list[Operator]]:
    async with AsyncExitStack() as stack:
        started = []
        for name in names:
            started.append(Operator(redis, name, command, settings))
            stack.push_async_callback(started[-1].aclose)
            await until(started[-1].overflow.ready)
            await until(partial(group_exists, redis))
        yield started


def a_launch(session_id: str, agent: str = "") -> Launch:
    about: Any = {"transport": "none", "deadline_s": 60, "max_duration_s": 60, "agent": agent}
    return Launch(session_id=session_id, room_url=f"room-{session_id}", **about)


async def offer(redis: Redis, session_id: str) -> EntryId:
    await Launches(redis).offer(a_launch(session_id), queue_limit=1000)
    return (await Launches(redis).live(1000))[-1][0]


async def claim(redis: Redis, runner: str) -> bool:
    """Take the oldest launch, as a runner does."""
    async with aclosing(Claims(redis, runner)) as claims:
        return await claims.next() is not None


async def hands(redis: Redis) -> dict[str, str]:
    """Which operator has which launch."""
    rows: Any = await redis.xpending_range(LAUNCH, OVERFLOW, "-", "+", 1000)
    return {row["message_id"]: row["consumer"] for row in rows}


async def group_exists(redis: Redis) -> bool:
    return await redis.exists(LAUNCH) == 1 and any(group["name"] == OVERFLOW for group in await groups(redis))


async def groups(redis: Redis) -> Any:
    return await redis.xinfo_groups(LAUNCH)


async def passed_on(redis: Redis, entry: str) -> bool:
    """Whether an operator has seen this launch and none has it."""
    [overflow_group] = [group for group in await groups(redis) if group["name"] == OVERFLOW]
    return overflow_group["last-delivered-id"] == entry and not await hands(redis)


async def until_in_hands(redis: Redis, wanted: dict[EntryId, str]) -> None:
    async def as_wanted() -> bool:
        return await hands(redis) == wanted

    await until(as_wanted)


async def test_a_launch_that_nobody_takes_gets_one_cold_runner_and_stays_in_the_operators_hands(redis: Redis) -> None:
    async with operators(redis, "one") as [operator]:
        entry = await offer(redis, "s1")
        event = await session_event(redis, "s1", ColdStart)
        assert (event.launcher, event.error, event.attempt) == ("process", "", 1)
        assert operator.processes.started == ["s1"]
        assert await hands(redis) == {entry: "one"}


async def test_a_launch_that_a_warm_runner_takes_in_time_is_let_go_without_a_cold_runner(redis: Redis) -> None:
    async with operators(redis, "one", settings=OperatorSettings(overflow_grace_s=1.5)) as [operator]:
        entry = await offer(redis, "s1")
        assert await claim(redis, "warm")
        await until(partial(passed_on, redis, entry))
        assert operator.processes.started == []
        assert await Launches(redis).read(entry)


async def test_never_more_cold_runners_than_allowed_and_the_next_when_one_has_ended(redis: Redis) -> None:
    settings = OperatorSettings(cold_max=2, overflow_grace_s=0)
    async with operators(redis, "one", settings=settings) as [operator]:
        for number in range(4):
            await offer(redis, f"s{number}")
        await until(lambda: operator.processes.alive() == 2)
        assert operator.processes.started == ["s0", "s1"]
        await claim(redis, "cold")
        operator.processes.runners[0].kill()  # type: ignore[attr-defined]
        await until(lambda: len(operator.processes.started) == 3)
        assert operator.processes.started == ["s0", "s1", "s2"]


async def test_a_cold_runner_that_fails_is_told_on_the_session_and_followed_by_another(redis: Redis) -> None:
    async with operators(redis, "one", command=FAILURE) as [operator]:
        await offer(redis, "s1")
        await until(lambda: len(operator.processes.started) == 2)
        told = [event.error for _, event in await history(redis, "s1") if isinstance(event, ColdStart)]
        assert told[:2] == ["", "the cold runner exited with code 3"]


async def test_a_command_that_cannot_be_started_is_a_failure_with_its_reason(redis: Redis) -> None:
    async with operators(redis, "one", command=["/nowhere/runner"]):
        await offer(redis, "s1")
        event = await session_event(redis, "s1", ColdStart)
        assert event.error == "the runner process did not start: No such file or directory"


async def test_two_operators_start_one_cold_runner_for_each_launch(redis: Redis) -> None:
    settings = OperatorSettings(cold_max=20, overflow_grace_s=0)
    async with operators(redis, "one", "two", settings=settings, command=SLEEPER) as both:
        sessions = {f"s{number}" for number in range(12)}
        await asyncio.gather(*(offer(redis, session) for session in sessions))
        await until(lambda: sum(len(operator.processes.started) for operator in both) >= len(sessions))
        assert sorted(both[0].processes.started + both[1].processes.started) == sorted(sessions)


async def test_a_launch_that_is_received_while_the_share_is_renewed_is_not_taken_for_lost(redis: Redis) -> None:
    """One that came in the first moments of an operator was forgotten, and found again after 15 s."""
    await Launches(redis).ensure_group(OVERFLOW)
    async with aclosing(Share(redis, "one")) as own:
        held: dict[EntryId, str] = {}
        renewing = asyncio.create_task(own.renew(held))
        await asyncio.sleep(0)
        held[EntryId("1-1")] = "received meanwhile"
        assert await renewing == set()


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "RENEW_EVERY_S", 0.1)
    monkeypatch.setattr(portion, "ABANDONED_S", ABANDONED_S)


@pytest.mark.usefixtures("_quick")
async def test_the_launches_of_an_operator_that_died_are_taken_by_another(redis: Redis) -> None:
    async with operators(redis, "dead", settings=OperatorSettings(overflow_grace_s=60)) as [dead]:
        entry = await offer(redis, "s1")
        await until_in_hands(redis, {entry: "dead"})
        dead.task.cancel()
        async with operators(redis, "heir") as [heir]:
            await until(lambda: heir.processes.started)
            assert heir.processes.started == ["s1"]
            await until_in_hands(redis, {entry: "heir"})


@pytest.mark.usefixtures("_quick")
async def test_the_launches_of_a_living_operator_are_not_taken_by_another(redis: Redis) -> None:
    async with operators(redis, "one", settings=OperatorSettings(overflow_grace_s=60)):
        entry = await offer(redis, "s1")
        await until_in_hands(redis, {entry: "one"})
        async with operators(redis, "two") as [two]:
            began = time.monotonic()
            while time.monotonic() < began + 1.2 * ABANDONED_S:  # and two has looked for abandoned ones all the time
                rows: Any = await redis.xpending_range(LAUNCH, OVERFLOW, "-", "+", 10)
                assert rows[0]["consumer"] == "one"
                assert rows[0]["time_since_delivered"] < 1000 * ABANDONED_S / 2, "it is not renewed"
                await asyncio.sleep(0.1)
            assert two.processes.started == []


async def test_an_operator_that_stops_leaves_its_launches_to_the_others_at_once(redis: Redis) -> None:
    async with operators(redis, "first", settings=OperatorSettings(overflow_grace_s=60)) as [first]:
        entry = await offer(redis, "s1")
        await until_in_hands(redis, {entry: "first"})
        first.stop.set()
        await first.task
        async with operators(redis, "second") as [second]:
            await until(lambda: second.processes.started == ["s1"], within_s=10)  # they would be abandoned after 15


async def test_an_unreadable_launch_is_acknowledged_and_the_next_one_served(redis: Redis) -> None:
    async with operators(redis, "one") as [operator]:
        await redis.xadd(LAUNCH, {"json": "{"}, id="1-1")
        await redis.xadd(LAUNCH, {"something": "else"}, id="1-2")
        entry = await offer(redis, "s1")
        await until(lambda: operator.processes.started == ["s1"])
        await until_in_hands(redis, {entry: "one"})


async def test_a_launch_in_the_stream_of_another_agent_keeps_no_other_from_its_cold_runner(redis: Redis) -> None:
    """One that was written by hand: how it stands was asked of a stream that is not there, again and again."""
    async with operators(redis, "one") as [operator]:
        await redis.xadd(LAUNCH, {"json": encode(a_launch("ghost", agent="nobody's"))}, id="1-1")
        entry = await offer(redis, "s1")
        await until(lambda: operator.processes.started == ["s1"])
        await until_in_hands(redis, {entry: "one"})


async def test_without_a_launcher_launches_are_acknowledged_and_wait(redis: Redis) -> None:
    stop = asyncio.Event()
    own = Share(redis, "none")
    task = asyncio.create_task(Overflow(redis, own, None, SETTINGS).run(stop))
    await until(partial(group_exists, redis))
    entry = await offer(redis, "s1")
    await until(partial(passed_on, redis, entry))
    stop.set()
    await task
    await own.aclose()
    assert await Launches(redis).standing([(LAUNCH, entry)]) == ["waiting"]


async def test_an_operator_goes_on_when_redis_has_come_back_empty(tmp_path: Path) -> None:
    server = RedisServer(EMBEDDED, tmp_path)
    server.start()
    async with connect(server.url) as redis, operators(redis, "one") as [operator]:
        await until(operator.overflow.ready)
        server.kill()
        server.start()
        await offer(redis, "s1")
        await until(lambda: operator.processes.started == ["s1"])
    server.kill()


async def test_cold_runners_that_end_well_without_the_launch_come_ever_less_often(redis: Redis) -> None:
    """Those of runners that do not have its agent: one a second came, until its deadline."""
    began: list[float] = []
    async with operators(redis, "o", command=[sys.executable, "-c", ""]) as [operator]:
        await offer(redis, "s1")
        while len(began) < 3:
            await until(lambda: len(operator.processes.started) > len(began))
            began.append(time.monotonic())
    assert began[2] - began[1] > 1.9


async def test_cold_runners_are_asked_to_drain_then_told_again_then_killed(tmp_path: Path) -> None:
    """The process takes note of each signal and obeys none."""
    script = (
        "import signal, sys, time\n"
        "note = lambda number, _: print(signal.Signals(number).name, file=open(sys.argv[1], 'a'), flush=True)\n"
        "[signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)]\n"
        "open(sys.argv[1], 'w').close()\n"
        "while True: time.sleep(60)\n"
    )
    notes = tmp_path / "notes"
    processes = Processes(1, [sys.executable, "-c", script, str(notes)], hand_back_s=1.0)
    runner = await processes.start("s1", 1, lambda: None)
    await until(notes.exists)
    shutdown = Shutdown()
    stopping = asyncio.create_task(processes.stop(shutdown))
    await until(lambda: notes.read_text() == "SIGTERM\n")
    assert runner.outlook == Outlook()
    shutdown.insisted.set()
    await stopping
    assert notes.read_text() == "SIGTERM\nSIGINT\n"
    assert runner.outlook.trouble == Trouble("Killed", "the cold runner was killed by SIGKILL")


async def test_a_cold_runner_serves_one_launch_and_gets_no_room_of_somebody_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("RUNNER_SLOTS", "HEALTH_PORT", "DAILY_ROOM_URL", "DAILY_TOKEN", "BOT"):
        monkeypatch.setenv(name, "inherited")
    script = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    ended = asyncio.Event()
    processes = Processes(1, [sys.executable, "-c", script, str(tmp_path / "environ")])
    await processes.start("s1", 1, ended.set)
    await ended.wait()
    environ = json.loads((tmp_path / "environ").read_text())
    expected = {"RUNNER_AUTO_START": "1", "RUNNER_SLOTS": "1", "HEALTH_PORT": "0", "BOT": "inherited"}
    assert {name: environ.get(name) for name in expected} == expected
    assert not {"DAILY_ROOM_URL", "DAILY_TOKEN"} & environ.keys()
