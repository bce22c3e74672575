"""What the bench has found, each fault as the shortest way to it."""

import asyncio
import fcntl
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runner.forking.process_names import SESSION_PROCESS
from shared import events
from shared.contract import Ended, Leave, Leaving, Queued, Reason, Running
from shared.inbox import Inbox
from shared.launches import Claim, EntryId, Launches
from shared.presence import present
from shared.redis.connection import Redis
from shared.sweep import Sweep
from tests.faults import evidence
from tests.faults.bench import WITNESSED
from tests.faults.matrix import LEASE_S
from tests.launching import a_launch, offer, send
from tests.leases import lease_of
from tests.processes import Child, Children, children_called, session_event, until_gone
from tests.redis_server import RedisServer
from tests.waiting import until, until_a_reader_waits


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    folder = tmp_path / "w"
    folder.mkdir()
    return folder


@pytest.fixture
def fleet(children: Children, witness: Path) -> Iterator["Fleet"]:
    yield Fleet(children, witness)
    for child in children.started:
        child.kill_all()


class Fleet:
    """Starts runners with one slot each and a short lease."""

    def __init__(self, children: Children, witness: Path) -> None:
        self._children = children
        self._env = {"BOT": str(WITNESSED), "BOT_WITNESS": str(witness), "LEASE": str(LEASE_S), "STOP_GRACE": "3"}

    def start(self, **env: str) -> Child:
        return self._children.service("runner", **{**self._env, **env})

    async def ready(self, redis: Redis, **env: str) -> Child:
        """A runner whose slot is warm."""
        runner = self.start(**env)

        async def free() -> bool:
            return any(one.pid == runner.pid and one.free for one in await present(redis))

        await until(free, 60)
        return runner


def is_free(lock: Path) -> bool:
    """Whether nobody is in the room."""
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


async def holder_of(redis: Redis, session_id: str) -> str:
    """The runner that has the session's lease; empty while nobody has."""
    for entry, fields in await Launches(redis).live(100):
        if session_id in str(fields):
            lease = await lease_of(redis, entry)
            return lease.holder if lease else ""
    return ""


async def _waits_at_the_server(redis: Redis) -> bool:
    """Whether somebody's read is blocked there."""
    clients = await redis.info("clients")
    return bool(clients["blocked_clients"])


async def test_a_launch_given_to_a_frozen_supervisor_is_dropped_when_it_wakes_after_another_has_it(
    redis: Redis, server: RedisServer, fleet: Fleet, witness: Path
) -> None:
    """Two bots were in one room.

    A supervisor was stopped while its read waited in Redis, and Redis gave it a launch. The lease went stale, another
    runner got the next attempt; then the supervisor woke, found the answer on its connection, took it for new, and
    started a bot with a whole fence before it. How long that bot stayed was up to how soon Redis told the supervisor
    that its report came too late.
    """
    frozen = await fleet.ready(redis)
    await until(lambda: _waits_at_the_server(redis))
    frozen.signal(signal.SIGSTOP)
    launch = await offer(redis, body={"room": "a"})
    await until(lambda: holder_of(redis, launch.session_id))
    await fleet.ready(redis)
    await session_event(redis, launch.session_id, Running, attempt=2)
    server.signal(signal.SIGSTOP)
    frozen.signal(signal.SIGCONT)
    await asyncio.sleep(LEASE_S / 4)
    server.signal(signal.SIGCONT)
    await frozen.said("lease_lost")
    following = await offer(redis, body={"room": "b"})
    await session_event(redis, following.session_id, Running)
    assert evidence.doubled(witness) == []
    assert [stay.attempt for stay in evidence.stays(witness) if stay.room == "a"] == [2]


async def test_an_offer_that_is_repeated_after_its_session_is_over_starts_no_second_one(redis: Redis) -> None:
    """A caller who asked for one bot got it twice, one after the other.

    Redis was killed after it had accepted a join and before the gateway had its answer. The gateway's client asked
    again on a new connection; by then a runner had served the session to its end, and the room was free again.
    """
    launches = Launches(redis)
    launch = a_launch()
    assert (await launches.offer(launch, queue_limit=10)).depth == 1
    (entry, _), *_ = await launches.live(10)
    ended = Ended(session_id=launch.session_id, attempt=1, reason=Reason.LEFT)
    assert await launches.finish(entry, "", launch, ended) == "finished"
    again = await launches.offer(launch, queue_limit=10)
    assert (again.outcome, again.session_id, again.depth) == ("queued", launch.session_id, 0)
    assert [type(event) for _, event in await events.history(redis, launch.session_id)] == [Queued, Ended]


async def test_a_runner_that_asks_again_for_its_own_room_is_given_what_it_has(redis: Redis) -> None:
    """A runner that was started for one room found the room taken, and exited: taken by itself.

    The answer to its first try was lost with the connection; the second named its own session as the room's.
    """
    launches = Launches(redis)
    launch = a_launch()
    first = await launches.adopt(launch, "mine")
    assert isinstance(first, Claim)
    assert await launches.adopt(launch, "mine") == first
    assert await launches.adopt(launch, "another's") == launch.session_id


async def test_a_session_that_was_told_to_leave_leaves_although_its_supervisor_dies_on_the_way(
    redis: Redis, fleet: Fleet
) -> None:
    """A caller had its leave accepted, and the bot came back for good.

    The supervisor acknowledged the command when it passed the order on, and was killed before the bot had left. The
    session went to its next attempt, and nobody knew of the leave any more.
    """
    dying = await fleet.ready(redis)
    launch = await offer(redis, body={"room": "a", "leave_s": 1.0})
    await session_event(redis, launch.session_id, Running)
    await send(redis, launch, Leave(command_id="1"))
    await session_event(redis, launch.session_id, Leaving)
    dying.kill()
    await fleet.ready(redis)
    for attempt in (1, 2):
        ended = asyncio.create_task(session_event(redis, launch.session_id, Ended, attempt=attempt, within_s=20))
        again = asyncio.create_task(session_event(redis, launch.session_id, Queued, attempt=attempt + 1, within_s=20))
        done, waiting = await asyncio.wait({ended, again}, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        if ended in done:
            assert ended.result().reason is Reason.LEFT
            return
    pytest.fail("it never ended")


async def test_a_lease_is_not_stale_because_the_server_was_paused_while_it_was_asked(
    redis: Redis, server: RedisServer
) -> None:
    """All sessions of a fleet were restarted after Redis had hung for a few seconds.

    A sweep was under way as the server stopped answering. When it went on, the sweep found every lease old, and
    took the time at which it had asked for the time of the answer: no break, it thought.
    """
    lease_s = 0.6
    launch = await offer(redis)
    sweep = Sweep(redis, lease_s=lease_s, max_attempts=3)
    launches = Launches(redis)
    await redis.xreadgroup("runners", "living", {"{bot}:launch": ">"})
    (entry, _), *_ = await launches.live(1)
    sweeping = asyncio.create_task(sweep.run(lease_s / 50))
    try:
        for _ in range(15):
            assert await launches.renew("living", [EntryId(entry)]) == []
            await asyncio.sleep(lease_s / 10)
        for _ in range(2):
            server.signal(signal.SIGSTOP)
            await asyncio.sleep(lease_s * 1.2)
            server.signal(signal.SIGCONT)
            await asyncio.sleep(lease_s / 10)
            assert await launches.renew("living", [EntryId(entry)]) == []
            for _ in range(15):
                await asyncio.sleep(lease_s / 10)
                assert await launches.renew("living", [EntryId(entry)]) == []
    finally:
        sweeping.cancel()
        await asyncio.wait({sweeping})
    assert await holder_of(redis, launch.session_id) == "living"


@pytest.mark.slow
async def test_leases_are_renewed_soon_after_redis_is_back_not_a_whole_interval_later(
    redis: Redis, server: RedisServer, fleet: Fleet, witness: Path
) -> None:
    """Bots left their rooms although Redis was back before the fence.

    A renewal that failed was tried again at the next interval. With the default lease of 20 s: renewed at 0, Redis away
    from 2.9 to 12.9, tried at 12 and then at 15, which is the fence.
    """
    lease_s = 12.0
    runner = await fleet.ready(redis, LEASE=str(lease_s))
    launch = await offer(redis, body={"room": "a"})
    await session_event(redis, launch.session_id, Running)
    (entry, _), *_ = await Launches(redis).live(1)

    async def just_renewed() -> bool:
        lease = await lease_of(redis, entry)
        return lease is not None and lease.age_ms < 100

    async def about_to_be_renewed() -> bool:
        lease = await lease_of(redis, entry)
        return lease is not None and lease.age_ms > lease_s * 0.15 * 1000 - 150

    await until(just_renewed)
    await until(about_to_be_renewed)
    server.kill()
    # From 1.65 s after the renewal to 7.5 s: the intervals' tries are at 7.2 s and at 9 s, which is the fence.
    await asyncio.sleep(5.85)
    server.start()
    await until(just_renewed)
    assert children_called(SESSION_PROCESS, runner.pid)
    assert "fenced" not in runner.output()
    assert len(evidence.stays(witness)) == 1


async def test_a_bot_that_is_done_is_not_gone_before_its_supervisor_has_heard_so(
    redis: Redis, fleet: Fleet, witness: Path
) -> None:
    """A bot that had returned was put into its room again, as one whose "process exited with code 0".

    The process said that the bot was done, closed the pipe and exited. In the same moment the supervisor, on a busy
    machine, passed on a renewal: the write failed, and with it went what was not read yet.
    """
    runner = await fleet.ready(redis)
    launch = await offer(redis, body={"room": "a", "do": "return when told"})
    await session_event(redis, launch.session_id, Running)
    runner.signal(signal.SIGSTOP)
    (witness / "told").touch()
    (stay,) = evidence.stays(witness)
    await until(lambda: is_free(witness / "a.lock"))
    with pytest.raises(AssertionError, match="still there"):
        await until_gone(stay.pid, within_s=0.5)
    runner.signal(signal.SIGCONT)
    assert (await session_event(redis, launch.session_id, Ended)).reason is Reason.COMPLETED


@pytest.mark.parametrize(("do", "reason"), [("return", Reason.COMPLETED), ("stay", Reason.LEFT)])
async def test_a_session_whose_bot_is_done_ends_although_its_supervisor_never_hears_of_it(
    redis: Redis, fleet: Fleet, do: str, reason: Reason
) -> None:
    """A bot came back after its end, because its supervisor was frozen or dead when it came to it.

    The process had only the supervisor to tell, so the lease went stale and a next attempt was made.
    """
    runner = await fleet.ready(redis)
    launch = await offer(redis, body={"room": "a", "do": do, "stay_s": 0.4, "leave_s": 0.4})
    await session_event(redis, launch.session_id, Running)
    if do == "stay":
        await send(redis, launch, Leave(command_id="1"))
        await session_event(redis, launch.session_id, Leaving)
    runner.signal(signal.SIGSTOP)
    assert (await session_event(redis, launch.session_id, Ended)).reason is reason
    runner.kill()


async def test_a_command_is_not_taken_by_a_runner_that_has_handed_the_session_over(redis: Redis) -> None:
    """A session that was told to leave just after its bot had been replaced on another runner never left.

    The first runner's read was still waiting in Redis for the session's commands. It was given the leave, found that it
    had no such session, and dropped it; the second runner had looked for undone commands before.
    """
    launch = await offer(redis)
    first, second = Inbox(redis, "first"), Inbox(redis, "second")
    await first.open(launch.session_id)
    reading = asyncio.create_task(first.read())
    await until_a_reader_waits(redis)
    await first.hand_over(launch.session_id)
    await second.open(launch.session_id)
    leave = Leave(command_id="1")
    await send(redis, launch, leave)
    assert [command for _, _, command in await second.read()] == [leave]
    assert await reading == []
    for inbox in (first, second):
        await inbox.aclose()
