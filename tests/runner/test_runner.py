"""A real runner, its zygote and its session processes, without gateway or operator."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.runner.forking.process_names import ZYGOTE
from shared import events, presence
from shared.claims import Claims
from shared.contract import (
    LAUNCH,
    Ended,
    Failed,
    Failure,
    Leave,
    Leaving,
    Message,
    Queued,
    Reason,
    Running,
    Say,
    Starting,
    commands_key,
)
from shared.launches import Launches, after
from shared.redis.connection import Redis, connect
from shared.redis.streams import between
from shared.waiting import happens_within
from tests.launching import SCRIPTED, Record, offer, records, send
from tests.leases import lease_of
from tests.processes import Child, Children, children_called, free_port, session_event, until_gone
from tests.redis_server import EMBEDDED, RedisServer
from tests.waiting import until, until_a_reader_waits

BOTS = SCRIPTED.parent
StartRunner = Callable[..., Child]


@pytest.fixture
def start(children: Children, record: Path) -> StartRunner:
    """Starts a runner with the scripted bot, and times short enough to be waited for."""

    def start(**env: str) -> Child:
        variables = {"BOT": str(SCRIPTED), "BOT_RECORD": str(record), "STOP_GRACE": "2", "RUNNER_SLOTS": "1", **env}
        return children.service("runner", **variables)

    return start


async def one(redis: Redis, session_id: str, kind: Any, attempt: int = 1) -> Any:
    return await session_event(redis, session_id, kind, attempt=attempt)


def is_alive(pid: int) -> bool:
    """Whether the process is there and no zombie, as those of a frozen supervisor stay."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def of(record: Path, what: str) -> list[Record]:
    return [line for line in records(record) if line.what == what]


async def test_a_launch_is_served_in_a_process_of_its_own_that_the_supervisor_is_parent_of(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    runner = start()
    launch = await offer(redis, body={"do": "stay"})
    await one(redis, launch.session_id, Running)
    (entered,) = of(record, "entered")
    parent = int(Path(f"/proc/{entered.pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert entered.pid != runner.pid
    assert parent == runner.pid
    assert (await one(redis, launch.session_id, Starting)).start == "warm"


async def test_a_session_leaves_nothing_behind_but_its_history(redis: Redis, start: StartRunner) -> None:
    start()
    launch = await offer(redis, body={"do": "return"})
    ended = await one(redis, launch.session_id, Ended)
    assert ended.reason is Reason.COMPLETED
    assert sorted(await redis.keys("*")) == [
        "{bot}:events",
        "{bot}:launch",
        "{bot}:relaunch",
        "{bot}:runners",
        f"{{bot}}:session:{launch.session_id}",
    ]
    assert await redis.xlen(LAUNCH) == 0
    assert await Launches(redis).depth() == 0


async def test_a_bot_that_raises_fails_its_session_with_type_message_and_place(
    redis: Redis, start: StartRunner
) -> None:
    runner = start()
    launch = await offer(redis, body={"do": "raise", "what": "s3cret-token"}, token="s3cret-token")
    failed = await one(redis, launch.session_id, Failed)
    assert (failed.reason, failed.attempt) == (Reason.BOT_ERROR, 1)
    assert failed.message.startswith("LookupError: no room for [token] (scripted.py:")
    assert "raise LookupError" in failed.message
    await runner.said("bot_raised")
    assert "s3cret" not in runner.output()


async def test_a_bot_that_does_not_import_fails_its_session_with_the_reason_and_its_runner_is_not_ready(
    redis: Redis, start: StartRunner
) -> None:
    start(BOT=str(BOTS / "broken.py"), HEALTH_PORT=str(port := free_port()))
    launch = await offer(redis)
    failed = await one(redis, launch.session_id, Failed)
    assert failed.reason is Reason.BOT_IMPORT_ERROR
    # A rollout of such a bot came to its end, and no runner of the old one was left.
    async with httpx.AsyncClient() as http:
        assert (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 503
    assert failed.message.startswith("RuntimeError: half of me is missing (broken.py:3 in <module>: raise")


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ("be killed once", "the bot's process was killed by SIGKILL"),
        ("exit once", "the bot's process exited with code 3"),
    ],
)
async def test_a_bot_process_that_dies_is_replaced_and_the_new_bot_knows_why(
    redis: Redis, start: StartRunner, record: Path, do: str, message: str
) -> None:
    start()
    launch = await offer(redis, body={"do": do})
    again = await one(redis, launch.session_id, Queued, attempt=2)
    assert (again.reason, again.message) == (Reason.BOT_DIED, message)
    await one(redis, launch.session_id, Running, attempt=2)
    assert [(line.attempt, line.more) for line in of(record, "entered")] == [(1, "None"), (2, "bot_died")]


async def test_a_bot_that_always_dies_is_given_up_after_the_allowed_attempts(redis: Redis, start: StartRunner) -> None:
    start(MAX_ATTEMPTS="2")
    launch = await offer(redis, body={"do": "be killed"})
    failed = await one(redis, launch.session_id, Failed, attempt=2)
    assert failed.reason is Reason.BOT_DIED
    assert await redis.xlen("{bot}:dead") == 1


@pytest.mark.parametrize("do", ["stay", "ignore cancellation", "block"])
async def test_a_bot_that_is_told_to_leave_is_gone_within_the_grace_whatever_it_does(
    redis: Redis, start: StartRunner, record: Path, do: str
) -> None:
    start(STOP_GRACE="1")
    launch = await offer(redis, body={"do": do})
    await one(redis, launch.session_id, Running)
    (entered,) = of(record, "entered")
    await send(redis, launch, Leave(command_id="1"))
    assert (await one(redis, launch.session_id, Leaving)).reason is Reason.LEFT
    await until_gone(entered.pid, within_s=3)
    assert (await one(redis, launch.session_id, Ended)).reason is Reason.LEFT
    assert not await redis.exists(commands_key(launch.session_id))


async def test_a_bot_may_take_its_whole_grace_to_leave_however_short_the_lease_is(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    """Whoever left heard of no renewal any more, and was killed when its lease would have been stale."""
    start(LEASE="2", STOP_GRACE="8")
    launch = await offer(redis, body={"do": "leave slowly"})
    await one(redis, launch.session_id, Running)
    await send(redis, launch, Leave(command_id="1"))
    assert (await one(redis, launch.session_id, Ended)).reason is Reason.LEFT
    assert len(of(record, "goodbye")) == 1


async def test_a_session_ends_when_its_longest_time_is_over(redis: Redis, start: StartRunner) -> None:
    start()
    launch = await offer(redis, body={"do": "stay"}, max_duration_s=0.5)
    assert (await one(redis, launch.session_id, Ended)).reason is Reason.MAX_DURATION


async def test_the_longest_time_counts_from_the_first_attempt_on(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    start()
    launch = await offer(redis, body={"do": "stay"}, max_duration_s=3.0)
    await one(redis, launch.session_id, Running)
    (first,) = of(record, "entered")
    await asyncio.sleep(first.at + 1.5 - time.monotonic())  # so that both ways of counting are far apart
    os.kill(first.pid, signal.SIGKILL)
    await one(redis, launch.session_id, Running, attempt=2)
    assert (await one(redis, launch.session_id, Ended, attempt=2)).reason is Reason.MAX_DURATION
    _, second = of(record, "entered")
    (left,) = of(record, "left")
    assert left.at - second.at < 3.0


async def test_a_session_that_was_told_to_end_does_not_get_as_far_as_another_bot(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    """The next attempt's bot entered the room for a moment, only to be told to leave it."""
    launch = await offer(redis, body={"do": "stay"})
    claims = Claims(redis, "a host that dies")
    claim = await claims.next(wait_s=1)
    assert claim is not None
    failure = Failure(attempt=1, reason=Reason.RUNNER_LOST)
    await send(redis, launch, Leave(command_id="1"))
    assert await Launches(redis).settle(claim, "a host that dies", after(launch, failure, 3))
    await claims.aclose()
    start()
    assert (await one(redis, launch.session_id, Ended, attempt=2)).reason is Reason.LEFT
    assert records(record) == []


async def test_a_bot_hears_that_its_time_is_nearly_over(redis: Redis, start: StartRunner, record: Path) -> None:
    start(BOT=str(BOTS / "piped.py"), END_WARNING="0.5")
    launch = await offer(redis, max_duration_s=1.5)
    assert (await one(redis, launch.session_id, Ended)).reason is Reason.MAX_DURATION
    assert record.read_text().splitlines() == ["ends in 0.5", "returned"]


async def test_commands_become_frames_in_order_once_the_bot_is_there(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    launch = await offer(redis)
    for number in range(20):
        await send(redis, launch, Say(command_id=str(number), text=str(number)))
    await send(redis, launch, Message(command_id="m", text="hello", mode="immediate", sender_name="Ann"))
    start(BOT=str(BOTS / "piped.py"))
    async with asyncio.timeout(20):
        while not record.exists() or len(record.read_text().splitlines()) < 21:
            await asyncio.sleep(0.02)
        while await redis.xlen(commands_key(launch.session_id)):
            await asyncio.sleep(0.02)
    assert record.read_text().splitlines() == [*(f"say {number}" for number in range(20)), "message Ann: hello True"]


async def test_a_bot_that_uses_too_much_memory_is_replaced(redis: Redis, start: StartRunner) -> None:
    start(SESSION_MEMORY_MB="200", LEASE="2")
    launch = await offer(redis, body={"do": "eat once"})
    again = await one(redis, launch.session_id, Queued, attempt=2)
    assert (again.reason, again.message) == (Reason.MEMORY_LIMIT, "the bot used more than 200 MiB of private memory")
    await one(redis, launch.session_id, Running, attempt=2)


async def test_a_session_that_is_told_to_end_before_its_next_attempt_gets_none(
    redis: Redis, start: StartRunner
) -> None:
    """A leave in the pause after a bot's death was acknowledged, and then the next bot started all the same."""
    start()
    launch = await offer(redis, body={"do": "be killed after leave"})
    await one(redis, launch.session_id, Running)
    await send(redis, launch, Leave(command_id="1"))
    assert (await one(redis, launch.session_id, Ended)).reason is Reason.LEFT


@pytest.mark.parametrize(
    ("do", "kind", "reason", "message"),
    [
        ("sys.exit", Ended, Reason.COMPLETED, ""),
        ("cancelled by itself", Failed, Reason.BOT_ERROR, "CancelledError (scripted.py"),
        ("base exception", Failed, Reason.BOT_ERROR, "Unusual: of a kind (scripted.py"),
        ("endless text", Failed, Reason.BOT_ERROR, "ValueError: xxx"),
        ("no text", Failed, Reason.BOT_ERROR, "ValueError: ?"),
    ],
)
async def test_however_a_bots_function_ends_its_session_says_how(
    redis: Redis, start: StartRunner, do: str, kind: Any, reason: Reason, message: str
) -> None:
    start()
    launch = await offer(redis, body={"do": do})
    over = await one(redis, launch.session_id, kind)
    assert over.reason is reason
    assert getattr(over, "message", "").startswith(message)
    assert len(getattr(over, "message", "")) <= 2000


async def test_a_bot_that_writes_into_its_processs_pipe_is_replaced_at_once(redis: Redis, start: StartRunner) -> None:
    start()
    launch = await offer(redis, body={"do": "write rubbish once"})
    again = await one(redis, launch.session_id, Queued, attempt=2)
    assert again.reason is Reason.BOT_DIED
    await one(redis, launch.session_id, Running, attempt=2)


async def test_a_death_by_a_signal_without_a_name_is_a_death_like_any_other(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    start()
    launch = await offer(redis, body={"do": "stay"})
    await one(redis, launch.session_id, Running)
    os.kill(of(record, "entered")[0].pid, 40)
    again = await one(redis, launch.session_id, Queued, attempt=2)
    assert again.message == "the bot's process was killed by signal 40"
    await one(redis, launch.session_id, Running, attempt=2)


async def test_what_a_bot_has_started_ends_with_it(redis: Redis, start: StartRunner, record: Path) -> None:
    runner = start(LEASE="1")
    launch = await offer(redis, body={"do": "start children"})
    await one(redis, launch.session_id, Ended)
    for child in of(record, "child"):
        await until_gone(int(child.more), within_s=5)
    async with asyncio.timeout(5):
        while children_called("sleep", runner.pid):
            await asyncio.sleep(0.02)


async def test_an_unreadable_launch_frees_its_room_and_says_so(redis: Redis, start: StartRunner) -> None:
    """It was dropped without a word to its session, and its room stayed taken for ever."""
    launch = await offer(redis)
    ((entry, fields),) = await between(redis, LAUNCH)
    await redis.xdel(LAUNCH, entry)
    odd = fields["json"].replace('"transport":"none"', '"transport":"sip"')
    await redis.xadd(LAUNCH, {"json": odd}, id=f"{int(entry.split('-')[0]) + 1}-0")
    start()
    failed = await one(redis, launch.session_id, Failed)
    assert failed.reason is Reason.UNREADABLE
    assert not await redis.exists(f"{{bot}}:room:{launch.room_url}")


async def test_a_bot_is_warmed_up_once_before_any_session(redis: Redis, start: StartRunner, record: Path) -> None:
    start(BOT=str(BOTS / "warmed.py"), RUNNER_SLOTS="2")
    for _ in range(3):
        await one(redis, (await offer(redis)).session_id, Ended)
    lines = record.read_text().splitlines()
    assert lines[0].startswith("warmed up in ")
    assert len(lines) == 4
    assert {line.split(" by ")[1] for line in lines[1:]} == {lines[0].split(" in ")[1]}


async def test_a_bot_that_imports_its_pipeline_when_it_is_called_is_not_running_before_it_is_in_its_room(
    redis: Redis, start: StartRunner
) -> None:
    start(BOT=str(BOTS / "lazy.py"), JOIN_TIMEOUT="1", STOP_GRACE="0.5", MAX_ATTEMPTS="1")
    launch = await offer(redis, room_url="https://pipefleet-test.daily.co/nowhere", transport="daily")
    failed = await one(redis, launch.session_id, Failed)
    assert failed.reason in {Reason.JOIN_TIMEOUT, Reason.JOIN_FAILED}
    history = [event for _, event in await events.history(redis, launch.session_id)]
    assert not [event for event in history if isinstance(event, Running)]


async def test_nothing_of_one_session_is_visible_in_the_next(redis: Redis, start: StartRunner, record: Path) -> None:
    start()
    for _ in range(3):
        launch = await offer(redis, body={"do": "leave traces"})
        await one(redis, launch.session_id, Ended)
    found = of(record, "found")
    assert [line.more for line in found] == ["None []"] * 3
    assert len({line.pid for line in found}) == 3


async def test_a_bot_whose_import_starts_threads_has_them_in_its_process(redis: Redis, start: StartRunner) -> None:
    runner = start(BOT=str(BOTS / "threaded.py"))
    launch = await offer(redis)
    assert (await one(redis, launch.session_id, Ended)).reason is Reason.COMPLETED
    assert runner.output().count("bot_imported_after_fork") == 1


async def test_a_webrtc_session_without_a_client_fails_and_is_not_tried_again(redis: Redis, start: StartRunner) -> None:
    start(JOIN_TIMEOUT="0.5")
    launch = await offer(redis, transport="webrtc")
    failed = await one(redis, launch.session_id, Failed)
    assert (failed.reason, failed.attempt) == (Reason.NO_CLIENT, 1)


async def test_a_runner_goes_on_when_redis_has_lost_everything(redis: Redis, start: StartRunner) -> None:
    """The group that it waits in was gone, and with the error of its read the whole runner ended."""
    runner = start()
    await one(redis, (await offer(redis, body={"do": "return"})).session_id, Ended)
    await redis.flushall()
    launch = await offer(redis, body={"do": "return"})
    assert (await one(redis, launch.session_id, Ended)).reason is Reason.COMPLETED
    assert runner.exit_code is None


async def test_a_runner_goes_on_after_its_server_was_a_replica_for_a_while(redis: Redis, start: StartRunner) -> None:
    """Its blocked read was ended with an error of its own, which ended the runner."""
    runner = start()
    await one(redis, (await offer(redis, body={"do": "return"})).session_id, Ended)
    await until_a_reader_waits(redis)
    await redis.replicaof("127.0.0.1", "1")
    await redis.replicaof("no", "one")
    launch = await offer(redis, body={"do": "return"})
    assert (await one(redis, launch.session_id, Ended)).reason is Reason.COMPLETED
    assert runner.exit_code is None


async def test_a_zygote_that_dies_takes_no_session_along_and_is_made_anew(redis: Redis, start: StartRunner) -> None:
    runner = start()
    staying = await offer(redis, body={"do": "stay"})
    await one(redis, staying.session_id, Running)
    os.kill(children_called(ZYGOTE, runner.pid)[0], signal.SIGKILL)
    await runner.said("zygote_died")
    await send(redis, staying, Leave(command_id="1"))
    assert (await one(redis, staying.session_id, Ended)).reason is Reason.LEFT
    next_one = await offer(redis, body={"do": "return"})
    assert (await one(redis, next_one.session_id, Ended)).reason is Reason.COMPLETED


async def test_a_supervisor_that_dies_has_its_session_handed_back(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    runner = start()
    launch = await offer(redis, body={"do": "stay"})
    await one(redis, launch.session_id, Running)
    runner.kill()
    again = await one(redis, launch.session_id, Queued, attempt=2)
    assert again.reason is Reason.RUNNER_LOST
    (entered,) = of(record, "entered")
    await until_gone(entered.pid)
    start()
    await one(redis, launch.session_id, Running, attempt=2)


async def test_what_a_bot_has_started_ends_with_it_also_when_its_supervisor_died_while_it_left(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    runner = start()
    launch = await offer(redis, body={"do": "leave a child slowly", "for_s": 0.5})
    await one(redis, launch.session_id, Running)
    await send(redis, launch, Leave(command_id="1"))
    await one(redis, launch.session_id, Leaving)
    runner.kill()
    assert (await one(redis, launch.session_id, Ended)).reason is Reason.LEFT
    (child,) = of(record, "child")
    await until_gone(int(child.more))


@pytest.mark.parametrize("do", ["stay", "block", "block, deaf to SIGALRM"])
async def test_the_bot_of_a_frozen_supervisor_is_out_before_its_lease_is_stale(
    redis: Redis, start: StartRunner, record: Path, do: str
) -> None:
    runner = start(LEASE="2")
    launch = await offer(redis, body={"do": do})
    await one(redis, launch.session_id, Running)
    (entry, _), *_ = await Launches(redis).live(1)
    (entered,) = of(record, "entered")
    runner.signal(signal.SIGSTOP)

    async def is_out() -> bool:
        lease = await lease_of(redis, entry)
        out = not is_alive(entered.pid)
        assert out or lease is None or lease.age_ms < 2000, "the bot was there when its lease had become stale"
        return out

    await until(is_out)
    runner.signal(signal.SIGCONT)


async def test_a_runner_that_is_asked_to_stop_finishes_its_session_and_claims_no_other(
    redis: Redis, start: StartRunner
) -> None:
    runner = start(RUNNER_SLOTS="2")
    staying = await offer(redis, body={"do": "stay"})
    await one(redis, staying.session_id, Running)
    runner.terminate()
    await runner.said("draining")
    async with asyncio.timeout(10):
        while (await presence.present(redis))[0].state != "draining":
            await asyncio.sleep(0.02)
    waiting = await offer(redis, body={"do": "return"})
    await send(redis, staying, Leave(command_id="1"))
    assert (await one(redis, staying.session_id, Ended)).reason is Reason.LEFT
    assert await runner.wait() == 0
    assert await Launches(redis).depth() == 1
    assert await presence.present(redis) == []
    start()
    await one(redis, waiting.session_id, Ended)


async def test_a_draining_runner_does_not_besiege_a_server_that_is_away(tmp_path: Path, start: StartRunner) -> None:
    """It asked for commands again at once, as often as it could, beside bots that were talking."""
    server = RedisServer(EMBEDDED, tmp_path)
    server.start()
    async with connect(server.url) as redis:
        runner = start(REDIS_URL=server.url)
        launch = await offer(redis, body={"do": "stay"})
        await one(redis, launch.session_id, Running)
        runner.terminate()
        await runner.said("draining")
    server.kill()
    Path(server.path).unlink(missing_ok=True)
    besieged, calls = asyncio.Event(), count(1)

    def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        if next(calls) == 100:
            besieged.set()

    async with await asyncio.start_unix_server(refuse, server.path):
        assert not await happens_within(besieged, 1.5)
    assert next(calls) > 1


async def test_a_runner_that_is_told_twice_hands_its_session_to_the_next(redis: Redis, start: StartRunner) -> None:
    runner = start()
    launch = await offer(redis, body={"do": "stay"})
    await one(redis, launch.session_id, Running)
    runner.terminate()
    await runner.said("draining")
    runner.terminate()
    again = await one(redis, launch.session_id, Queued, attempt=2)
    assert again.reason is Reason.RUNNER_STOPPED
    assert await runner.wait() == 0


async def test_a_bot_that_is_done_when_its_runner_hands_it_back_is_done(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    """It returned before it heard that it was to leave, and another bot was sent into a room where all was said."""
    runner = start(STOP_GRACE="10")
    launch = await offer(redis, body={"do": "block for a while"})
    await one(redis, launch.session_id, Running)
    runner.terminate()
    await runner.said("draining")
    runner.terminate()
    await one(redis, launch.session_id, Leaving)
    record.with_suffix(".go").touch()
    assert (await one(redis, launch.session_id, Ended)).reason is Reason.COMPLETED
    assert await runner.wait() == 0


async def test_an_auto_start_runner_serves_the_oldest_launch_and_exits(redis: Redis, start: StartRunner) -> None:
    first = await offer(redis, body={"do": "return"})
    await offer(redis, body={"do": "return"})
    runner = start(RUNNER_AUTO_START="1")
    assert (await one(redis, first.session_id, Starting)).start == "cold"
    assert await runner.wait() == 0
    assert await Launches(redis).depth() == 1


async def test_an_auto_start_runner_replaces_its_own_dead_bot(redis: Redis, start: StartRunner) -> None:
    launch = await offer(redis, body={"do": "exit once"})
    start(RUNNER_AUTO_START="1")
    await one(redis, launch.session_id, Running, attempt=2)


async def test_an_auto_start_runner_with_nothing_to_do_exits_clean(start: StartRunner) -> None:
    assert await start(RUNNER_AUTO_START="1").wait(60) == 0


async def test_an_auto_start_runner_with_a_room_puts_its_bot_into_that_room(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    runner = start(RUNNER_AUTO_START="1", DAILY_ROOM_URL="https://Example.daily.co/mine/?t=1", DAILY_TOKEN="t0ken")
    assert await runner.wait(60) == 0
    (entered,) = of(record, "entered")
    queued = await one(redis, entered.session_id, Queued)
    assert (queued.room_url, queued.transport) == ("https://example.daily.co/mine", "daily")
    assert (await one(redis, entered.session_id, Ended)).reason is Reason.COMPLETED
    assert "t0ken" not in runner.output()


async def test_a_bad_setting_stops_the_runner_with_the_variables_name(start: StartRunner) -> None:
    runner = start(RUNNER_SLOTS="many", LEASE="-1")
    assert await runner.wait() != 0
    assert "RUNNER_SLOTS: expected a whole number" in runner.output()
    assert "LEASE: expected" in runner.output()


async def test_a_runner_that_has_never_reached_redis_says_so_once(start: StartRunner) -> None:
    """It only said so when Redis had answered before."""
    runner = start(REDIS_URL="redis://127.0.0.1:1")
    await runner.said("zygote_ready", within_s=30)
    await runner.said("redis_away", within_s=30)
    assert runner.output().count("redis_away") == 1
