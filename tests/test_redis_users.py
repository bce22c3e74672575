"""Each service as a user of Redis that may do what it must, and nothing else: k8s/redis/users.acl."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis.exceptions import NoPermissionError, ResponseError

from pipefleet.redis_visit import visit
from services.runner.forking.process_names import SESSION_PROCESS
from shared import sweep
from shared.contract import (
    CLAIMS,
    DEAD_WEBHOOKS,
    FIELD,
    LAUNCH,
    Failed,
    Queued,
    Reason,
    Running,
    activity_key,
    commands_key,
    session_key,
)
from shared.inbox import Inbox
from shared.presence import present
from shared.redis.connection import connect
from shared.script import set_back
from shared.settings import FleetSettings
from tests import machine
from tests.fakes.daily_api import KEY, FakeDaily, fake_daily
from tests.fakes.kubernetes_api.cluster import running_cluster
from tests.gateway.sse_client import listening
from tests.launching import SCRIPTED
from tests.operator.kubernetes.ground import Ground
from tests.operator.webhooks.receiver import Receiver, a_receiver
from tests.processes import Child, Fleet, children_called, free_port
from tests.redis_server import EMBEDDED
from tests.redis_users import NAMES, Services, Users, granted, recorded, refused, server_with_users
from tests.waiting import until

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TALKING = SCRIPTED.parent / "talking.py"
TURN = ["user_starts", "sound", "silence", "user_stops", "bot_starts", "bot Hello.", "bot_stops"]
SHORT = {"LEASE": "4", "MAX_ATTEMPTS": "3", "LAUNCH_DEADLINE": "60", "DRAIN_GRACE": "0.2"}
SERVICES = ("gateway", "operator", "runner")
UNSEEN = {"gateway": ["role"], "operator": ["client|unblock", "role"], "runner": ["client|unblock", "role"]}
"""What is granted and not seen here. `client|unblock`: MONITOR does not tell it, but the server counts it. `role`: with
Sentinel, whoever is led to a server asks it."""


@pytest.fixture(params=["valkey", pytest.param("redis-server", marks=pytest.mark.slow)])
def users(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Users]:
    program = EMBEDDED if request.param == "valkey" else machine.need(request.param)
    with server_with_users(program, tmp_path) as made:
        yield made


@dataclass
class Drive:
    """A whole fleet, and what happens to it."""

    fleet: Fleet
    ground: Ground
    receiver: Receiver
    daily: FakeDaily
    record: Path

    async def stay(self, **more: Any) -> str:
        """A session whose bot stays."""
        joined = await self.fleet.join(wait_s=30, **{"transport": "none", "body": {"do": "stay"}, **more})
        assert joined["status"] == "running", joined
        return str(joined["session_id"])

    async def post(self, path: str, status: int, **body: Any) -> Any:
        """The answer to a request."""
        answer = await self.fleet.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def get(self, path: str) -> Any:
        """The same."""
        answer = await self.fleet.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def runner_of(self, session_id: str) -> Child:
        """The process that holds a session."""
        holder = (await self.fleet.session(session_id))["runner"]
        (pid,) = [one.pid for one in await present(self.fleet.redis) if one.runner == holder]
        (child,) = [child for child in self.fleet.runners if child.pid == pid]
        return child

    async def commands_and_events(self) -> None:
        """A session is joined, told things, listened to, and leaves."""
        async with listening(self.fleet.http, "/events") as feed:
            await feed.placed()
            talking = await self.stay(agent="talk", body={"frames": TURN})
            await self.post("/admin", 200, session_id=talking, type="say", text="Good morning.", wait=10)
            answers = (await self.post("/admin", 207, all=True, type="custom", data=1))["commands"]
            assert len(answers) == 1
            await feed.until("speaking")
        redis = self.fleet.redis
        assert await until(lambda: redis.xlen(activity_key(talking)))
        async with listening(self.fleet.http, f"/sessions/{talking}/events") as mine:
            await self.post("/leave", 202, session_id=talking)
            assert (await mine.rest())[-1].type == "end"
        assert (await self.get("/sessions?agent=talk"))["sessions"] == []
        assert (await self.get("/v1/agents/talk/sessions?status=all"))["total_count"] == 1

    async def crash_and_redrive(self) -> None:
        """Bots that die until the session is a dead letter, which is redriven, and one that is deleted."""
        for _ in range(2):
            joined = await self.fleet.join(transport="none", body={"do": "be killed"})
            await self.fleet.event(joined["session_id"], Failed, attempt=3)
        again, other = (await self.get("/dead"))["dead"]
        assert (await self.fleet.http.delete(f"/dead/{other['id']}")).status_code == 204
        redriven = await self.post(f"/dead/{again['id']}/redrive", 202)
        await self.fleet.event(redriven["session_id"], Failed, attempt=3)

    async def rubbish(self) -> None:
        """An entry that nobody can read."""
        redis = self.fleet.redis
        await redis.xadd(LAUNCH, {FIELD: "{}"})
        await until(lambda: _is(redis.xlen(LAUNCH), 0))

    async def daily_room(self) -> None:
        """A room is made for a session, and goes with it."""
        made = await self.post("/start", 200, createDailyRoom=True, body={"do": "return"})
        await self.fleet.until_status(made["sessionId"], "ended")
        await self.daily.until_empty()

    async def exactly_one_room(self) -> None:
        """A runner that was started for one room."""
        room = "https://example.daily.co/exactly"
        env = {"RUNNER_AUTO_START": "1", "DAILY_ROOM_URL": room, "BOTS": ""}
        runner = self.fleet.start("runner", **env)
        assert await runner.wait(30) == 0
        assert '"next":"ended"' in runner.output().replace(" ", "")

    async def moves(self) -> None:
        """A session whose runner is drained; killed; and gone with its host, so that a cold one takes it."""
        session = await self.stay()
        holder = (await self.fleet.session(session))["runner"]
        await self.post(f"/fleet/{holder}/drain", 202)
        await self.fleet.event(session, Running, attempt=2)
        killed = await self.runner_of(session)
        killed.kill()
        await self.fleet.event(session, Running, attempt=3)
        await killed.wait()
        lost = await self.runner_of(session)
        lost.signal(signal.SIGSTOP)
        for pid in children_called(SESSION_PROCESS, lost.pid):
            os.kill(pid, signal.SIGKILL)
        lost.kill_all()
        queued = await self.fleet.event(session, Queued, attempt=4)
        assert queued.reason is Reason.RUNNER_LOST
        await self.fleet.event(session, Running, attempt=4)
        assert (await self.fleet.session(session))["start"] == "cold"
        await self.post("/leave", 202, session_id=session)
        await self.fleet.until_status(session, "ended")

    async def withdrawn(self) -> None:
        """A session for which nobody is there, so that what it is told waits."""
        joined = await self.fleet.join(transport="none", agent="nobody")
        for text in ("Good morning.", "Is anybody there?"):
            await self.post("/admin", 202, session_id=joined["session_id"], type="say", text=text)
        await self.post("/leave", 202, session_id=joined["session_id"])
        assert (await self.fleet.session(joined["session_id"]))["reason"] == "left"

    async def late(self) -> None:
        """A session whose deadline passes while there is no runner, which would see it, too."""
        self.ground.cluster.trouble("unschedulable", pods=99)
        late = await self.fleet.join(transport="none", agent="nobody", deadline_s=1)
        await self.fleet.event(late["session_id"], Failed)

    async def gone_consumers(self, users: Users, monkeypatch: pytest.MonkeyPatch) -> None:
        """The names of processes that are no more, which after two minutes any runner forgets."""
        monkeypatch.setattr(sweep, "CONSUMER_GONE_S", 0.0)
        async with connect(users.url("runner")) as redis:
            await sweep.Sweep(redis, lease_s=20, max_attempts=3).sweep(time.monotonic())

    async def commands_of_the_past(self, users: Users) -> None:
        """A session that ends while its runner still listens for commands to it."""
        async with connect(users.url("runner")) as redis, aclosing(Inbox(redis, "somebody")) as inbox:
            await inbox.open("over")
            await self.fleet.redis.delete(commands_key("over"))
            assert await inbox.read() == []

    async def ahead_of_the_clock(self, users: Users) -> None:
        """An entry from the future, which whoever meets it takes out; with all else that there can be of a stream."""
        stream, redis = session_key("ahead"), self.fleet.redis
        for name in SERVICES:
            await redis.xadd(stream, {FIELD: "{}"})
            await redis.xgroup_create(stream, "group", "0")
            await redis.xreadgroup("group", "consumer", {stream: ">"})
            await redis.expire(stream, 60)
            await redis.xadd(stream, {FIELD: "{}"}, id=f"{2**63}-0")
            async with connect(users.url(name)) as rights:
                await set_back(rights, [stream])
            assert await redis.xlen(stream) == 1
            await redis.delete(stream)

    async def doctor(self, users: Users) -> None:
        """`pipefleet doctor` looks at Redis with the rights of the service that it is run for."""
        for name in SERVICES:
            found = {one.check: one.status for one in await visit(FleetSettings(redis_url=users.url(name)))}
            assert (found["redis"], found["scripts"], found["redis version"]) == ("ok", "ok", "ok")


async def _is(asked: Any, number: int) -> bool:
    return bool(await asked == number)


@asynccontextmanager
async def drive(users: Users, folder: Path) -> AsyncIterator[Drive]:
    """Everything is there, and nothing has happened yet."""
    children, record = Services(folder, users), folder / "record"
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connect(users.url("test")))
        receiver = await stack.enter_async_context(a_receiver())
        receiver.answer = lambda number: web.Response(status=410 if number == 1 else 204)
        daily = await stack.enter_async_context(fake_daily())
        stack.push_async_callback(children.stop)
        cluster = await stack.enter_async_context(running_cluster(children))
        ground = Ground(cluster, children, redis, folder)
        bots = {"BOT": str(SCRIPTED), "BOTS": f"talk={TALKING},nobody={SCRIPTED}", "BOT_RECORD": str(record)}
        to_daily = {"DAILY_API_KEY": KEY, "DAILY_API_URL": daily.url}
        fleet = Fleet(children, redis, {**SHORT, **bots, **to_daily, "RUNNER_SLOTS": "2", "REQUEST_RATE": "1000"})
        stack.push_async_callback(fleet.aclose)
        ground.prepare(**SHORT, REDIS_URL=users.url("runner"))
        hook = {"WEBHOOK_URL": receiver.url, "WEBHOOK_SECRET": SECRET, "WEBHOOK_ALLOW_PRIVATE": "1"}
        ground.operator(**SHORT, **hook, BOT=str(SCRIPTED), BOTS=bots["BOTS"], HEALTH_PORT=str(free_port()))
        stack.push_async_callback(ground.stop_operators)
        for _ in range(3):
            fleet.add_runner(BOTS=f"talk={TALKING}")
        await fleet.until_free(6)
        yield Drive(fleet, ground, receiver, daily, record)


async def test_what_each_service_may_do_in_redis_is_what_it_does(
    users: Users, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect(users.url("test")) as redis, recorded(redis) as used, drive(users, tmp_path) as driven:
        await driven.commands_and_events()
        await driven.crash_and_redrive()
        await asyncio.gather(driven.rubbish(), driven.daily_room(), driven.withdrawn())
        await driven.exactly_one_room()
        await driven.moves()
        await driven.late()
        await driven.gone_consumers(users, monkeypatch)
        await driven.commands_of_the_past(users)
        await driven.ahead_of_the_clock(users)
        await driven.doctor(users)
        assert (await driven.fleet.http.get("/readyz")).status_code == 200
        assert await until(lambda: redis.xlen(DEAD_WEBHOOKS))
        assert len(driven.receiver.accepted) > 30
    async with connect(users.url("test")) as redis:
        assert (await redis.info("commandstats"))["cmdstat_client|unblock"]["calls"]
        assert {one for one in await refused(redis) if "config|get" not in one} == set(), "but doctor asks"
    rights = granted()
    for name in SERVICES:
        assert sorted(rights[name].commands - used[name].commands) == UNSEEN[name], name
        assert used[name].keys == rights[name].keys, name


FORBIDDEN = (
    "FLUSHALL",
    "FLUSHDB",
    "CONFIG GET *",
    "KEYS *",
    "DEBUG JMAP",
    "SHUTDOWN",
    "ACL LIST",
    "MONITOR",
    "CLIENT LIST",
    "CLIENT KILL ID 1",
    "SUBSCRIBE x",
    "GET elsewhere",
    "XADD elsewhere * json {}",
    "XADD {bot}:runners:elsewhere * json {}",
)


@pytest.mark.parametrize("name", NAMES)
async def test_nobody_reaches_the_server_itself_or_other_keys(users: Users, name: str) -> None:
    async with connect(users.url("test")) as client:
        test: Any = client
        may = {command: await test.acl_dryrun(name, *command.split()) for command in (*FORBIDDEN, "PING")}
        assert [command for command, answer in may.items() if answer == "OK"] == ["PING"]
    async with connect(users.url(name)) as redis:
        if name in SERVICES:
            other = redis.register_script("return redis.call('GET', 'elsewhere')")
            with pytest.raises(ResponseError, match=r"(?i)permission|can't access"):
                await other(keys=["{bot}:launch"])


async def test_a_reader_sees_all_of_the_fleet_and_changes_nothing(users: Users) -> None:
    async with connect(users.url("test")) as redis:
        await redis.xgroup_create(LAUNCH, CLAIMS, mkstream=True)
        await redis.xadd("{bot}:webhooks:dead", {FIELD: "{}"})
        await redis.set("{bot}:room:x", "1")
    async with connect(users.url("reader")) as client:
        reader: Any = client
        reads = ("XRANGE {bot}:launch - +", "XPENDING {bot}:launch runners", "XLEN {bot}:webhooks:dead")
        for command in (*reads, "GET {bot}:room:x", "SCAN 0", "TYPE {bot}:launch", "SLOWLOG GET", "INFO", "DBSIZE"):
            await reader.execute_command(*command.split())
        for command in (
            "XADD {bot}:launch * json {}",
            "DEL {bot}:room:x",
            "XACK {bot}:launch runners 1-1",
            "EVALSHA x 0",
        ):
            with pytest.raises(NoPermissionError):
                await reader.execute_command(*command.split())
