"""Server-sent events from gateways that are processes of their own."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from services.gateway.events.stream import EventStream, Streaming
from services.gateway.events.subscribers import Subscription
from shared.activity import ActivityLog
from shared.contract import EVENTS, ColdStart, Leaving, Reason, Speaking
from shared.events import News, decode
from shared.launches import Claim
from shared.redis.connection import Redis, connect
from shared.redis.entries import milliseconds
from shared.redis.streams import between
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.sse_client import Received, listening
from tests.gateway.stand_in_runner import StandInRunner
from tests.gateway.test_process import started
from tests.launching import offer
from tests.processes import Child, Children
from tests.redis_server import RedisServer
from tests.waiting import until

EVENTS_OF_A_SESSION = 4
TCP_CLOSE = 7
"""What the kernel says of a connection that the other side has broken off."""


class Life:
    """Sessions that really go through the streams, one by one."""

    def __init__(self, redis: Redis, runner: StandInRunner) -> None:
        self._redis = redis
        self._runner = runner
        self._log = ActivityLog(redis)

    async def begin(self, **labels: str) -> Claim:
        await offer(self._redis, labels=labels)
        return await self._runner.running()

    async def speak(self, claim: Claim, count: int = 1) -> None:
        """Something goes on in a call, in a later millisecond: within one the two streams have no order."""
        newest = (await between(self._redis, EVENTS))[-1][0]
        await until(lambda: self._later_than(milliseconds(newest)))
        who: Any = {"session_id": claim.launch.session_id, "attempt": 1, "who": "user"}
        assert await self._log.write(claim, self._runner.name, [Speaking(**who, what="started")] * count)

    async def _later_than(self, moment_ms: int) -> bool:
        seconds, microseconds = await self._redis.time()
        return bool(seconds * 1000 + microseconds // 1000 > moment_ms)

    async def end(self, claim: Claim) -> None:
        await self._runner.end(claim, Reason.COMPLETED)

    async def whole(self, **labels: str) -> Claim:
        """A whole session, with four changes of state."""
        claim = await self.begin(**labels)
        await self.speak(claim, 3)
        await self.end(claim)
        return claim


@pytest.fixture
def life(redis: Redis, runner: StandInRunner) -> Life:
    return Life(redis, runner)


Gateways = list[tuple[Child, httpx.AsyncClient]]


@pytest.fixture
async def gateways(children: Children) -> AsyncIterator[Gateways]:
    """Two replicas."""
    async with AsyncExitStack() as stack:
        yield list(await asyncio.gather(*(stack.enter_async_context(started(children)) for _ in range(2))))


@pytest.fixture
async def http(children: Children) -> AsyncIterator[httpx.AsyncClient]:
    async with started(children) as (_, client):
        yield client


def types(received: list[Received]) -> list[str]:
    return [one.type for one in received]


def states(received: list[Received]) -> list[tuple[str, str]]:
    return [(one.entry, one.type) for one in received if one.type != "speaking"]


async def written(redis: Redis) -> list[tuple[str, str]]:
    """All changes of state that there were."""
    return [(entry, str(event.__struct_config__.tag)) for entry, event in decode(await between(redis, EVENTS))]


async def test_a_client_that_drops_a_hundred_times_on_two_replicas_sees_every_change_exactly_once_in_order(
    gateways: Gateways, redis: Redis, life: Life
) -> None:
    chance = random.Random(7)  # noqa: S311 - which, does not matter, only that it is the same
    wanted = asyncio.Semaphore(0)
    sessions = 0

    async def live() -> None:
        while True:
            await wanted.acquire()
            await life.whole()

    living = asyncio.create_task(live())
    received: list[Received] = []
    last_id = ""
    for drop in range(101):
        _, http = gateways[chance.randrange(2)]
        before = chance.randint(0, 2) if last_id else 0
        sessions += before
        for _ in range(before):
            wanted.release()  # while the client is away
        async with listening(http, "/events", last_id) as listener:
            await listener.placed()
            more = chance.randint(0, 2)
            sessions += more
            for _ in range(more):
                wanted.release()  # while it listens
            missing = sessions * EVENTS_OF_A_SESSION - len(states(received))
            target = len(states(received)) + (missing if drop == 100 else chance.randint(0, missing))
            while len(states(received)) < target:
                received.append(await listener.next())
            last_id = listener.last_id
    living.cancel()
    await asyncio.wait({living})
    assert states(received) == await written(redis)
    assert len(states(received)) == sessions * EVENTS_OF_A_SESSION > 400


async def test_all_events_begin_with_now_and_tell_type_time_and_fields(http: httpx.AsyncClient, life: Life) -> None:
    await life.whole()
    async with listening(http, "/events") as listener:
        await listener.placed()
        claim = await life.whole()
        found = await listener.until("ended")
    assert listener.headers["content-type"].startswith("text/event-stream")
    assert "no-cache" in listener.headers["cache-control"]
    assert listener.headers["x-accel-buffering"] == "no"
    assert listener.retry_ms > 0
    assert types(found) == ["queued", "starting", "running", "speaking", "speaking", "speaking", "ended"]
    assert {one.data["session_id"] for one in found} == {claim.launch.session_id}
    assert found[3].data == {
        "type": "speaking",
        "at": found[3].data["at"],
        "session_id": claim.launch.session_id,
        "attempt": 1,
        "who": "user",
        "what": "started",
    }


async def test_a_session_is_told_from_its_beginning_to_its_end_and_then_there_is_nothing_to_come_back_for(
    http: httpx.AsyncClient, life: Life
) -> None:
    other = await life.begin()
    claim = await life.begin()
    path = f"/sessions/{claim.launch.session_id}/events"
    async with listening(http, path) as listener:
        begun = await listener.some(3)
        await life.speak(other)
        await life.speak(claim)
        await life.end(claim)
        rest = await listener.rest()
    assert types(begun + rest) == ["queued", "starting", "running", "speaking", "ended", "end"]
    async with listening(http, path, listener.last_id) as again:
        assert again.status == 204
    async with listening(http, path) as whole:
        assert types(await whole.rest()) == types(begun + rest)
    async with listening(http, path, begun[-1].id) as last_part:
        assert types(await last_part.rest()) == ["speaking", "ended", "end"]
    async with listening(http, "/sessions/nobody/events") as nobody:
        assert nobody.status == 404


async def test_a_session_is_over_although_something_is_told_of_it_afterwards(
    http: httpx.AsyncClient, redis: Redis, life: Life
) -> None:
    """News of a Job came after the end; a browser that came back then listened for ever."""
    claim = await life.whole()
    session_id = claim.launch.session_id
    assert await News(redis).publish(ColdStart(session_id=session_id, attempt=1, launcher="kubernetes"))
    async with listening(http, f"/sessions/{session_id}/events") as listener:
        assert types(await listener.rest())[-3:] == ["ended", "cold_start", "end"]
    answer = await http.get(f"/sessions/{session_id}/events", headers={"Last-Event-ID": listener.last_id})
    assert answer.status_code == 204


async def test_types_and_labels_choose(http: httpx.AsyncClient, life: Life) -> None:
    async with listening(http, "/events", types="ended, queued", labels="team:a") as listener:
        await listener.placed()
        await life.whole(team="b")
        claim = await life.whole(team="a", tier="x:y")
        found = await listener.some(2)
        assert [(one.type, one.data["session_id"]) for one in found] == [
            ("queued", claim.launch.session_id),
            ("ended", claim.launch.session_id),
        ]
    await life.whole(team="a", tier="z")
    again = await life.whole(team="a", tier="x:y")
    query = {"labels": ["team:a", "tier:x:y"], "types": "running"}
    async with listening(http, "/events", listener.last_id, **query) as later:
        assert [one.data["session_id"] for one in await later.some(1)] == [again.launch.session_id]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"types": "queued,run"}, "types: there is no 'run'; there are queued, "),
        ({"labels": "team"}, "labels: expected key:value, got 'team'"),
        ({"last_event_id": "7-0"}, "last_event_id: must be the id of an event"),
        ({"last_event_id": f"{2**64}-0_0-0"}, "last_event_id: must be the id of an event"),
    ],
)
async def test_what_makes_no_sense_is_refused_in_words(gateway: Gateway, query: dict[str, str], says: str) -> None:
    answer = await gateway.http.get("/events", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_QUERY")
    assert answer.json()["message"].startswith(says)


async def test_the_header_goes_before_the_query_and_is_named_when_it_is_wrong(
    http: httpx.AsyncClient, life: Life
) -> None:
    claim = await life.whole()
    path = f"/sessions/{claim.launch.session_id}/events"
    async with listening(http, path, last_event_id="0-0_0-0") as listener:
        first = await listener.next()
    async with listening(http, path, first.id, last_event_id="0-0_0-0") as listener:
        assert (await listener.next()).type == "starting"
    answer = await http.get("/events", headers={"Last-Event-ID": "yesterday"})
    assert (answer.status_code, answer.json()["message"][:13]) == (400, "Last-Event-ID")


async def test_what_is_lost_is_told_as_a_gap(http: httpx.AsyncClient, redis: Redis, life: Life) -> None:
    async with listening(http, "/events") as listener:
        await listener.placed()
    for _ in range(3):
        await life.whole()
    await redis.xtrim(EVENTS, maxlen=4, approximate=False)
    async with listening(http, "/events", listener.last_id, types="queued,ended") as later:
        gap, *found = await later.some(3)
    assert (gap.type, gap.data["feed"], types(found)) == ("gap", "events", ["queued", "ended"])
    assert gap.data["since"] <= gap.data["until"] == found[0].data["at"]
    ahead = f"{2**63}-0_0-0"
    async with listening(http, "/events", ahead, types="queued") as later:
        assert types(await later.some(3)) == ["gap", "gap", "queued"]


async def test_a_client_that_does_not_read_is_cut_and_the_others_are_served(children: Children, life: Life) -> None:
    async with started(children, LOG_LEVEL="debug") as (_, http):
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, (http.base_url.host, http.base_url.port))
            await loop.sock_sendall(deaf, b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            claim = await life.begin()

            async def cut() -> bool:
                await life.speak(claim, 100)
                state = deaf.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
                return state in {7, 8}  # TCP_CLOSE, TCP_CLOSE_WAIT: the other side has broken it off

            async with listening(http, "/events", types="ended") as healthy:
                await healthy.placed()
                await until(cut)
                await life.end(claim)
                assert (await healthy.next()).type == "ended"


async def test_a_client_that_goes_away_is_forgotten_at_once(gateway: Gateway, life: Life) -> None:
    claim = await life.begin()
    subscribers, session_id = gateway.parts.feed.subscribers, claim.launch.session_id
    for subscribed_to in (None, session_id):
        subscription = Subscription(subscribed_to, None)
        stream = EventStream(gateway.parts.redis, subscription, None, labels=gateway.parts.feed.labels, wanted={})
        scope: Any = {"state": {}}
        left, sent = asyncio.Event(), asyncio.Event()

        async def receive(left: asyncio.Event = left) -> Any:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any, sent: asyncio.Event = sent) -> None:
            if message["type"] == "http.response.body":
                sent.set()

        answering = asyncio.create_task(Streaming(stream, subscription, subscribers)(scope, receive, send))
        await sent.wait()
        assert len(subscribers) == 1
        left.set()
        await asyncio.wait_for(answering, 5)
        assert len(subscribers) == 0
    assert subscribers._of_session == {}


@pytest.mark.parametrize("path", ["/events", "/sessions/s1/events"])
async def test_events_are_for_those_who_may_read_sessions(gateway_with: StartGateway, path: str) -> None:
    async with gateway_with(join_keys=("join",), admin_keys=("admin",)) as gateway:
        for key, status in ((None, 401), ("join", 403)):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            assert (await gateway.http.get(path, headers=headers)).status_code == status
        answer = await gateway.http.get("/sessions/s1/events", headers={"Authorization": "Bearer admin"})
        assert answer.status_code == 404


async def test_events_go_on_after_redis_was_away_also_those_that_came_meanwhile(
    children: Children, own_server: RedisServer
) -> None:
    async with started(children, REDIS_URL=own_server.url) as (_, http), connect(own_server.url) as redis:
        runner = StandInRunner(redis, "runner-1")
        claim = await Life(redis, runner).begin()
        async with listening(http, "/events") as listener:
            await listener.placed()
            await runner.report(claim, Leaving(session_id=claim.launch.session_id, attempt=1, reason=Reason.LEFT))
            assert (await listener.next()).type == "leaving"
            own_server.kill()
            own_server.start()
            await until(redis.ping)
            await runner.end(claim, Reason.LEFT)
            assert (await listener.next()).type == "ended"
        await runner.inbox.aclose()


async def test_a_gateway_that_stops_lets_its_listeners_go_at_once(gateways: Gateways, life: Life) -> None:
    (stopping, http), (_, other) = gateways
    claim = await life.begin()
    async with listening(http, "/events") as listener:
        await listener.placed()
        stopping.terminate()
        assert await listener.rest() == []
    assert await stopping.wait(within_s=5) == 0
    await life.end(claim)
    async with listening(other, "/events", listener.last_id) as again:
        assert (await again.next()).type == "ended"
