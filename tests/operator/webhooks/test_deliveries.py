"""Every event of the fleet reaches the receiver at least once, signed, whatever happens to either side."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from services.operator import portion
from services.operator.settings import OperatorSettings
from services.operator.webhooks import deliveries
from services.operator.webhooks.deliveries import (
    FEWEST_TRIES,
    GIVE_UP_AFTER_S,
    HELD,
    LONGEST_PAUSE_S,
    LONGEST_RETRY_AFTER_S,
    Webhooks,
    gives_up,
    pause_s,
)
from services.operator.webhooks.public_addresses import public, public_socket
from services.operator.webhooks.sender import CONCURRENT, Answer, Sender, retry_after_s, sender
from shared.contract import DEAD_WEBHOOKS, EVENTS, Leaving, Reason, Running
from shared.contract import WEBHOOKS as GROUP
from shared.errors import SettingsError
from shared.launches import Launches
from shared.redis.connection import Redis, connect
from shared.redis.entries import encode
from shared.redis.streams import between
from shared.settings import load
from tests.launching import a_launch, offer
from tests.operator.webhooks.receiver import Receiver, a_receiver
from tests.processes import ROOT, Children
from tests.redis_server import EMBEDDED, RedisServer
from tests.waiting import until

SECRETS = tuple(f"whsec_{base64.b64encode(bytes([number]) * 24).decode()}" for number in (1, 2))
DAY = GIVE_UP_AFTER_S


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with a_receiver() as listening:
        yield listening


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "RENEW_EVERY_S", 0.1)
    monkeypatch.setattr(deliveries, "pause_s", lambda *_: 0.01)


@asynccontextmanager
async def sending(
    url: str, redis_url: str, receiver: Receiver, *names: str, types: tuple[str, ...] = ()
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Operators that send, each with a connection of its own; they are asked to stop at the end."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        tasks = []
        for name in names or ("operator-1",):
            redis = await stack.enter_async_context(connect(redis_url, retries=0))
            to_receiver = await stack.enter_async_context(sender(url, SECRETS, allow_private=True))
            tasks.append(asyncio.create_task(Webhooks(redis, name, to_receiver, types).run(stop)))
        async with connect(redis_url) as redis:
            await until(lambda: group_exists(redis))
            try:
                yield tasks
            finally:
                stop.set()
                await asyncio.gather(*tasks, return_exceptions=True)


async def group_exists(redis: Redis) -> bool:
    return bool(await redis.exists(EVENTS)) and len(await redis.xinfo_groups(EVENTS)) == 1


async def pending(redis: Redis) -> int:
    summary: Any = await redis.xpending(EVENTS, GROUP)
    return int(summary["pending"])


async def all_events(redis: Redis) -> set[str]:
    return {entry for entry, _ in await between(redis, EVENTS)}


async def until_delivered(redis: Redis, receiver: Receiver, within_s: float = 20.0) -> None:
    """Returns when all events of the feed were accepted, and nothing is pending."""

    async def delivered() -> bool:
        return await all_events(redis) <= set(receiver.accepted) and await pending(redis) == 0

    await until(delivered, within_s)


# What is decided


@pytest.mark.parametrize(
    ("answer", "tries", "age_s", "up"),
    [
        pytest.param(Answer(500), 1, 0.0, False, id="a young event is tried again"),
        pytest.param(Answer(500), 10_000, DAY - 1, False, id="for a whole day, however often"),
        pytest.param(Answer(500), FEWEST_TRIES, DAY, True, id="after a day it is given up"),
        pytest.param(Answer(), FEWEST_TRIES, DAY, True, id="also where nobody ever answered"),
        pytest.param(Answer(500), FEWEST_TRIES - 1, DAY, False, id="but not one that waited and was hardly tried"),
        pytest.param(Answer(410), 1, 0.0, True, id="at once when the receiver says that it is gone"),
    ],
)
def test_when_an_event_is_given_up(answer: Answer, tries: int, age_s: float, up: bool) -> None:
    assert gives_up(answer, tries, age_s) is up


@pytest.mark.parametrize(
    ("answer", "tries", "least", "most"),
    [
        (Answer(500), 1, 0.5, 1.0),
        (Answer(500), 4, 4.0, 8.0),
        (Answer(500), 1000, LONGEST_PAUSE_S / 2, LONGEST_PAUSE_S),
        (Answer(503, retry_after_s=30.0), 1, 30.0, 30.0),
        (Answer(429, retry_after_s=1.0), 4, 4.0, 8.0),
        (Answer(503, retry_after_s=1e9), 1, LONGEST_RETRY_AFTER_S, LONGEST_RETRY_AFTER_S),
    ],
)
def test_pauses_grow_and_are_as_long_as_the_receiver_asks_for(
    answer: Answer, tries: int, least: float, most: float
) -> None:
    assert (pause_s(answer, tries, 0.0), pause_s(answer, tries, 1.0)) == (least, most)


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, 0.0),
        ("120", 120.0),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30.0),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(header: str | None, wait_s: float) -> None:
    assert retry_after_s(header, datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)) == wait_s


@pytest.mark.parametrize("header", ["9" * 400, f"Sat, 31 Jan {'9' * 20} 12:00:00 GMT"])
async def test_a_retry_after_of_any_size_is_an_answer(receiver: Receiver, header: str) -> None:
    """A year beyond all numbers broke the delivery off: its event was sent each 15 s for ever, and never given up."""
    receiver.answer = lambda _: web.Response(status=503, headers={"retry-after": header})
    async with sender(receiver.url, SECRETS, allow_private=True) as to_receiver:
        assert (await to_receiver.send("1-0", b"{}")).status == 503


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::5db8:d822", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("0.0.0.0", False),  # noqa: S104 - it is refused
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("::10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b:1::1", False),
        ("2002:a00:1::1", False),
        ("2001:0:a00:1::1", False),
        ("localhost", False),
    ],
)
def test_only_addresses_of_the_public_internet_are_public(address: str, may: bool) -> None:
    assert public(address) is may


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"WEBHOOK_URL": "https://example.com"}, "WEBHOOK_SECRET: must be set"),
        ({"WEBHOOK_URL": "http://example.com", "WEBHOOK_SECRET": SECRETS[0]}, "WEBHOOK_URL: must be https"),
        ({"WEBHOOK_URL": "https://user:PASSWORD@"}, "WEBHOOK_URL: expected an absolute URL with https"),
        ({"WEBHOOK_URL": "file:///PASSWORD"}, "WEBHOOK_URL: expected an absolute URL with https"),
        ({"WEBHOOK_SECRET": "PASSWORD"}, "WEBHOOK_SECRET: expected whsec_ and the base64"),
        ({"WEBHOOK_SECRET": "whsec_UEFTU1dPUkQ="}, "WEBHOOK_SECRET: expected whsec_ and the base64"),
        ({"WEBHOOK_TYPES": "running,walking"}, "WEBHOOK_TYPES: expected some of queued, cold_start, "),
    ],
)
def test_settings_that_would_not_deliver_are_refused_without_their_secrets(
    environ: dict[str, str], complaint: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(OperatorSettings, environ)
    assert complaint in str(refused.value)
    assert "PASSWORD" not in str(refused.value)
    assert "UEFTU1" not in str(refused.value)


# Delivery


async def test_an_event_is_sent_with_its_id_and_time_and_no_more_than_the_feed_has(
    redis: Redis, redis_url: str, receiver: Receiver
) -> None:
    async with sending(receiver.url, redis_url, receiver):
        launch = await offer(redis, token="SECRET", body={"secret": "SECRET"}, labels={"team": "a"}, agent="sales")
        await until_delivered(redis, receiver)
    [request] = receiver.requests
    [entry] = await all_events(redis)
    assert request.headers["content-type"] == "application/json"
    happened = request.event["time"]
    assert datetime.fromisoformat(happened).timestamp() * 1000 == int(entry.partition("-")[0])
    assert request.event | {"time": None} == {
        "id": entry,
        "type": "queued",
        "time": None,
        "session_id": launch.session_id,
        "attempt": 1,
        "room_url": launch.room_url,
        "transport": "none",
        "deadline_s": 60.0,
        "labels": {"team": "a"},
        "reason": None,
        "message": "",
        "redriven_from": None,
        "agent": "sales",
    }
    assert b"SECRET" not in request.body


async def test_a_request_is_signed_with_every_secret_as_the_specification_has_it(
    redis: Redis, redis_url: str, receiver: Receiver
) -> None:
    async with sending(receiver.url, redis_url, receiver):
        await offer(redis)
        await until_delivered(redis, receiver)
    [request] = receiver.requests
    for secret in SECRETS:
        assert Webhook(secret).verify(request.body, request.headers) == request.event
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    digest = hmac.new(base64.b64decode(SECRETS[0][6:]), signed, hashlib.sha256).digest()
    assert f"v1,{base64.b64encode(digest).decode()}" in request.headers["webhook-signature"].split(" ")


async def test_the_readers_own_verification_of_the_readme_accepts_a_request_and_no_other(
    redis: Redis, redis_url: str, receiver: Receiver
) -> None:
    snippet = re.search(r"```python\n(def verified.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert snippet
    names: dict[str, Any] = {"hmac": hmac, "base64": base64, "time": time}
    exec(snippet[1], names)  # noqa: S102 - it is our own
    async with sending(receiver.url, redis_url, receiver):
        await offer(redis)
        await until_delivered(redis, receiver)
    [request] = receiver.requests
    late = request.headers | {"webhook-timestamp": str(int(time.time()) - 3600)}
    for secret in SECRETS:
        assert names["verified"](request.headers, request.body, secret)
        assert not names["verified"](request.headers, request.body + b" ", secret)
        assert not names["verified"](late, request.body, secret)


async def test_no_event_is_lost_where_redis_is_away_while_it_is_sent(receiver: Receiver, tmp_path: Path) -> None:
    server = RedisServer(EMBEDDED, tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    try:
        receiver.hold = asyncio.Event()
        async with connect(server.url) as redis, sending(receiver.url, server.url, receiver):
            for _ in range(20):
                await redis.xadd(EVENTS, {"json": encode(Running(session_id="s", attempt=1))})

            async def in_hand() -> bool:
                return receiver.under_way == CONCURRENT and await pending(redis) == 20

            await until(in_hand)
            server.kill()
            receiver.hold.set()
            await until(lambda: len(receiver.accepted) == 20)
            server.start()
            await until_delivered(redis, receiver)
    finally:
        server.kill()


async def test_an_event_that_is_not_accepted_is_sent_again_under_the_same_id(
    redis: Redis, redis_url: str, receiver: Receiver
) -> None:
    receiver.answer = lambda number: web.Response(status=(500, 404, 302, 429, 204)[min(number, 5) - 1])
    with capture_logs() as logs:
        async with sending(receiver.url, redis_url, receiver):
            await offer(redis)
            await until_delivered(redis, receiver)
    assert len(receiver.requests) == 5
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert [log["event"] for log in logs if log["event"].startswith("webhooks_a") or "not" in log["event"]] == [
        "webhooks_not_accepted",
        "webhooks_accepted_again",
    ]
    assert "SECRET" not in str(logs)


async def test_a_receiver_that_is_gone_makes_a_dead_letter_at_once(
    redis: Redis, redis_url: str, receiver: Receiver
) -> None:
    receiver.answer = lambda _: web.Response(status=410)
    async with sending(receiver.url, redis_url, receiver):
        launch = await offer(redis)
        await until(lambda: redis.xlen(DEAD_WEBHOOKS))
        await until(lambda: nothing_pending(redis))
    [(_, fields)] = await between(redis, DEAD_WEBHOOKS)
    letter = json.loads(fields["json"])
    assert letter["error"] == "the receiver answered 410"
    assert letter["event"]["session_id"] == launch.session_id
    assert len(receiver.requests) == 1


async def nothing_pending(redis: Redis) -> bool:
    return await pending(redis) == 0


async def test_an_event_that_nobody_takes_for_a_day_becomes_a_dead_letter(
    redis: Redis, redis_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "GIVE_UP_AFTER_S", 0.0)
    receiver.answer = lambda _: web.Response(status=500)
    async with sending(receiver.url, redis_url, receiver):
        await offer(redis)
        await until(lambda: redis.xlen(DEAD_WEBHOOKS))
    assert len(receiver.requests) == FEWEST_TRIES


async def test_only_the_wanted_types_are_sent_and_the_others_do_not_stay_pending(
    redis: Redis, redis_url: str, receiver: Receiver
) -> None:
    async with sending(receiver.url, redis_url, receiver, types=("running",)):
        launch = await offer(redis)
        await redis.xadd(EVENTS, {"json": encode(Running(session_id=launch.session_id, attempt=1))})
        await redis.xadd(EVENTS, {"other": "field"})
        await until(lambda: receiver.accepted)
        await until(lambda: nothing_pending(redis))
    assert [request.event["type"] for request in receiver.requests] == ["running"]


async def test_a_slow_receiver_gets_a_few_requests_at_a_time_and_the_rest_waits_in_the_feed(
    redis: Redis, redis_url: str, receiver: Receiver
) -> None:
    receiver.hold = asyncio.Event()
    async with sending(receiver.url, redis_url, receiver):
        for _ in range(3 * HELD):
            await redis.xadd(EVENTS, {"json": encode(Running(session_id="s", attempt=1))})

        async def full() -> bool:
            return receiver.under_way == CONCURRENT and await pending(redis) == HELD

        await until(full)
        receiver.hold.set()
        await until_delivered(redis, receiver)
    assert receiver.most_under_way == CONCURRENT
    assert len(receiver.requests) == 3 * HELD


async def test_events_that_are_refused_again_and_again_keep_no_others_back(
    redis: Redis, redis_url: str, receiver: Receiver
) -> None:
    """A receiver that knows not all types: when it had refused as many events as are held, none came for a day."""
    receiver.refused = ("leaving",)
    async with sending(receiver.url, redis_url, receiver):
        for _ in range(HELD):
            await redis.xadd(EVENTS, {"json": encode(Leaving(session_id="s", attempt=1, reason=Reason.LEFT))})
        await redis.xadd(EVENTS, {"json": encode(Running(session_id="s", attempt=1))})
        await until(lambda: receiver.accepted)
        assert await pending(redis) >= HELD


async def test_no_more_refused_events_are_held_than_there_is_room_for(
    redis: Redis, redis_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "REFUSED", 20)
    monkeypatch.setattr(deliveries, "HELD", 10)
    receiver.refused = ("running",)
    async with sending(receiver.url, redis_url, receiver):
        for _ in range(60):
            await redis.xadd(EVENTS, {"json": encode(Running(session_id="s", attempt=1))})

        async def full() -> bool:
            return await pending(redis) == 30

        await until(full)
        tries = len(receiver.requests)
        await until(lambda: len(receiver.requests) > tries + 100)
        assert await pending(redis) == 30
        receiver.refused = ()
        await until_delivered(redis, receiver)


async def test_events_of_an_operator_that_stops_working_are_sent_by_another(
    redis: Redis, redis_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portion, "ABANDONED_S", 0.5)
    receiver.hold = asyncio.Event()
    async with sending(receiver.url, redis_url, receiver) as [first]:
        for _ in range(20):
            await redis.xadd(EVENTS, {"json": encode(Running(session_id="s", attempt=1))})
        await until(lambda: receiver.under_way == CONCURRENT)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert await pending(redis) == 20
        receiver.hold.set()
        receiver.accepted.clear()
        async with sending(receiver.url, redis_url, receiver, "operator-2"):
            await until_delivered(redis, receiver)


async def test_an_operator_that_is_asked_to_stop_finishes_what_is_under_way_and_leaves_the_rest_at_once(
    redis: Redis, redis_url: str, receiver: Receiver
) -> None:
    receiver.hold = asyncio.Event()
    async with sending(receiver.url, redis_url, receiver):
        for _ in range(20):
            await redis.xadd(EVENTS, {"json": encode(Running(session_id="s", attempt=1))})
        await until(lambda: receiver.under_way == CONCURRENT)
        asyncio.get_running_loop().call_later(0.2, receiver.hold.set)
    assert len(receiver.accepted) == CONCURRENT
    assert await pending(redis) == 20 - CONCURRENT
    async with sending(receiver.url, redis_url, receiver, "operator-2"):
        await until_delivered(redis, receiver)
    assert sorted(receiver.accepted) == sorted(set(receiver.accepted))


async def test_what_the_feed_drops_before_it_was_sent_is_told(redis: Redis, redis_url: str, receiver: Receiver) -> None:
    receiver.hold = asyncio.Event()
    with capture_logs() as logs:
        async with sending(receiver.url, redis_url, receiver):
            for _ in range(HELD + 50):
                await redis.xadd(EVENTS, {"json": encode(Running(session_id="s", attempt=1))})

            async def full() -> bool:
                return await pending(redis) == HELD

            await until(full)
            await redis.xtrim(EVENTS, maxlen=10, approximate=False)
            await until(lambda: any(log["event"] == "webhook_events_lost" for log in logs))
            receiver.hold.set()
            await until_delivered(redis, receiver)
    assert next(log["count"] for log in logs if log["event"] == "webhook_events_lost") == 40


# Where it may go


class Rebinding(AbstractResolver):
    """A name server that gives another address each time."""

    def __init__(self, *addresses: str) -> None:
        self.asked = 0
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        address = self._addresses[min(self.asked, len(self._addresses) - 1)]
        self.asked += 1
        family = 10 if ":" in address else 2
        return [ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1"])
async def test_a_name_that_resolves_to_a_private_address_is_never_connected_to(
    receiver: Receiver, address: str
) -> None:
    resolver = Rebinding(address)
    connector = aiohttp.TCPConnector(resolver=resolver, socket_factory=public_socket)
    async with aiohttp.ClientSession(connector=connector) as session:
        port = receiver.url.rpartition(":")[2].partition("/")[0]
        answer = await Sender(session, f"http://hook.example:{port}/", SECRETS).send("1-0", b"{}")
    assert resolver.asked == 1
    assert (answer.status, receiver.requests) == (None, [])
    assert "is not a public address" in answer.error


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:7f00:1]", "2130706433", "0x7f.1", "127.1"]
)
async def test_a_private_address_is_refused_in_any_spelling(receiver: Receiver, host: str) -> None:
    port = receiver.url.rpartition(":")[2].partition("/")[0]
    async with sender(f"http://{host}:{port}/?key=SECRET", SECRETS, allow_private=False) as to_receiver:
        answer = await to_receiver.send("1-0", b"{}")
    assert (answer.status, receiver.requests) == (None, [])
    assert answer.error
    assert "SECRET" not in answer.error


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answer = lambda _: web.Response(status=307, headers={"location": receiver.url})
    async with sender(receiver.url, SECRETS, allow_private=True) as to_receiver:
        answer = await to_receiver.send("1-0", b"{}")
    assert (answer.status, answer.accepted, len(receiver.requests)) == (307, False, 1)


async def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with sender(receiver.url, SECRETS, allow_private=True) as to_receiver:
        assert (await to_receiver.send("1-0", b"{}")).accepted


# The real operator


async def test_a_real_operator_sends_the_history_of_a_session_and_logs_no_secret(
    redis: Redis, children: Children, receiver: Receiver
) -> None:
    url = receiver.url.replace("http://", "http://user:SECRET-PASSWORD@")
    env = {"WEBHOOK_URL": url, "WEBHOOK_SECRET": ",".join(SECRETS), "WEBHOOK_ALLOW_PRIVATE": "1", "LAUNCHER": "none"}
    operator = children.service("operator", **env)
    await until(lambda: group_exists(redis))
    receiver.answer = lambda number: web.Response(status=500 if number == 1 else 200)
    await offer(redis, deadline_s=0.001)
    await until(lambda: len(set(receiver.accepted)) == 2)
    await until_delivered(redis, receiver)
    assert {request.event["type"] for request in receiver.requests} == {"queued", "failed"}
    await operator.said("webhooks_accepted_again")
    operator.terminate()
    assert await operator.wait() == 0
    assert "SECRET" not in operator.output()
    assert SECRETS[0] not in operator.output()


@pytest.mark.slow
async def test_every_event_arrives_although_operators_are_killed_in_the_middle(
    redis: Redis, children: Children, receiver: Receiver
) -> None:
    """The others take over what a killed one had in hand, after the time in which it would have renewed it."""
    env = {"WEBHOOK_URL": receiver.url, "WEBHOOK_SECRET": SECRETS[0], "WEBHOOK_ALLOW_PRIVATE": "1", "LAUNCHER": "none"}
    operators = [children.service("operator", **env) for _ in range(3)]
    for operator in operators:
        await operator.said("webhooks_started")
    await until(lambda: group_exists(redis))
    receiver.answer = lambda number: web.Response(status=500 if number % 7 == 0 else 204)
    launches = Launches(redis)
    for number in range(300):
        assert (await launches.offer(a_launch(), queue_limit=1000)).outcome == "queued"
        if number in {100, 200}:
            operators.pop().kill()
    await until_delivered(redis, receiver, within_s=60)
    assert await all_events(redis) <= set(receiver.accepted)
    assert len(await all_events(redis)) == 300
