"""A full run of real processes with secrets of every kind: none is to be found in anything that others see."""

import base64
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from aiohttp import web

from shared.contract import Failed
from shared.redis import connection
from shared.redis.connection import Redis
from tests.fakes.daily_api import KEY, fake_daily
from tests.fakes.kubernetes_api.cluster import running_cluster
from tests.fakes.kubernetes_api.resources import RESOURCES
from tests.hostile.searching import Haul, forms
from tests.operator.kubernetes.ground import Ground, deployment
from tests.operator.webhooks.receiver import a_receiver
from tests.processes import ROOT, Children, Fleet, free_port, session_event
from tests.redis_server import EMBEDDED, RedisServer

TELLTALE = str(ROOT / "tests" / "bots" / "telltale.py")
SECRETS = {
    "room token": "tok-Ab1+/=&é-of-the-room",
    "body": "the-patient-is-Jane-Roe",
    "dial-in": "sip:+15551234567@secret.sip.example",
    "query of a room": "query-of-a-room-9f",
    "command": "words-for-the-bot-alone",
    "custom command": "data-for-the-bot-alone",
    "join key": "join-key-5d41402a",
    "previous join key": "join-key-before-7d79",
    "admin key": "admin-key-bc4b2a76",
    "wrong key": "wrong-key-b9719d91",
    "redis password": "redis-password-1c2d",
    "daily key": KEY,
    "turn secret": "static-auth-secret-77aa",
    "webhook query": "SECRET-QUERY",
    "webhook secret": base64.b64encode(b"the-secret-of-the-webhooks").decode(),
    "payload key": base64.b64encode(b"payload-key-of-exactly-32-bytes!").decode(),
    "openai key": "sk-openai-0123456789",
    "deepgram key": "deepgram-0123456789",
}
JOIN = {"X-Bot-Secret": SECRETS["join key"]}
ADMIN = {"Authorization": f"Bearer {SECRETS['admin key']}"}
ROOM = f"https://example.daily.co/room?t={SECRETS['query of a room']}"


def variables(**more: str) -> dict[str, str]:
    """The environment of a fleet with every secret there is, at its most talkative."""
    return {
        "LOG_LEVEL": "debug",
        "JOIN_KEYS": f"{SECRETS['join key']},{SECRETS['previous join key']}",
        "ADMIN_KEYS": SECRETS["admin key"],
        "DAILY_API_KEY": KEY,
        "ICE_SERVERS": "turn:127.0.0.1:3478",
        "TURN_SECRET": SECRETS["turn secret"],
        "WEBHOOK_SECRET": f"whsec_{SECRETS['webhook secret']}",
        "WEBHOOK_ALLOW_PRIVATE": "1",
        "PAYLOAD_KEYS": SECRETS["payload key"],
        "OPENAI_API_KEY": SECRETS["openai key"],
        "DEEPGRAM_API_KEY": SECRETS["deepgram key"],
        "MAX_ATTEMPTS": "2",
        "OVERFLOW_GRACE": "0.2",
        "STOP_GRACE": "2",
        **more,
    }


@asynccontextmanager
async def a_fleet(children: Children, folder: Path, haul: Haul, **env: str) -> AsyncIterator[Fleet]:
    """Gateway, operator and runner on a Redis with a password; every answer goes into the haul."""
    server = RedisServer(EMBEDDED, folder, "--requirepass", SECRETS["redis password"])
    server.start()
    url = server.url.replace("unix://", f"unix://:{SECRETS['redis password']}@")
    try:
        async with connection.connect(url) as redis:
            given = {"BOT": TELLTALE, "BOTS": "stays=tests/bots/scripted.py", "RUNNER_SLOTS": "3", "REDIS_URL": url}
            given |= {"LAUNCHER": "process", "COLD_MAX": "0", "BOT_RECORD": str(folder / "record")}
            fleet = Fleet(children, redis, {**given, **env})
            fleet.http.headers.update(ADMIN)
            fleet.http.event_hooks["response"].append(haul.answered)
            try:
                ports = [str(free_port()) for _ in range(2)]
                fleet.start("operator", HEALTH_PORT=ports[0])
                fleet.add_runner(HEALTH_PORT=ports[1])
                await fleet.until_free(3)
                yield fleet
                async with httpx.AsyncClient(event_hooks={"response": [haul.answered]}) as http:
                    for port in ports:
                        assert (await http.get(f"http://127.0.0.1:{port}/metrics")).is_success
                await haul.redis(redis)
            finally:
                await fleet.aclose()
    finally:
        server.kill()


async def requests_of_all_kinds(fleet: Fleet) -> dict[str, str]:
    """Let callers do what they do, rightly and wrongly; gives the credentials that one of them got."""
    body = {"who": SECRETS["body"], "do": "stay", "dialin_settings": {"sip": SECRETS["dial-in"]}}
    asked = {"room_url": ROOM, "token": SECRETS["room token"], "body": body}
    failing = (await fleet.http.post("/join", json=asked, headers=JOIN)).json()["session_id"]
    for wrong in ({"labels": 1}, {"deadline_s": SECRETS["room token"]}):
        assert (await fleet.http.post("/join", json={**asked, **wrong})).status_code in {400, 200, 202}
    cut = f'{{"token": "{SECRETS["room token"]}'.encode()
    await fleet.http.post("/join", content=cut, headers={"Content-Type": "application/json"})
    for headers in (
        {"Authorization": f"Bearer {SECRETS['wrong key']}"},
        {"X-Bot-Secret": SECRETS["wrong key"], "Authorization": ""},
    ):
        assert (await fleet.http.get("/fleet", headers=headers)).status_code == 401
    assert (await fleet.http.get("/fleet", headers=JOIN | {"Authorization": ""})).status_code in {401, 403}

    await session_event(fleet.redis, failing, Failed)
    staying = (await fleet.join(wait_s=20, transport="none", agent="stays", body=body))["session_id"]
    for command in ({"message": SECRETS["command"]}, {"type": "custom", "data": SECRETS["custom command"]}):
        await fleet.http.post("/admin", json={"session_id": staying, "wait": 5, **command})
    started = await fleet.http.post("/start", json={"createDailyRoom": True, "body": body})
    assert started.is_success, started.text
    relayed = await fleet.http.post("/start", json={"transport": "webrtc", "enableDefaultIceServers": True})
    (ice,) = relayed.json()["iceConfig"]["iceServers"]
    for route in (
        "/sessions",
        f"/sessions/{staying}",
        f"/sessions/{failing}",
        "/dead",
        "/fleet",
        "/metrics",
        "/schema",
    ):
        assert (await fleet.http.get(route)).is_success
    await until_failed(fleet, started.json()["sessionId"])
    return {"daily token": started.json()["dailyToken"], "turn credential": ice["credential"]}


async def until_failed(fleet: Fleet, session_id: str) -> None:
    await session_event(fleet.redis, session_id, Failed)


async def told(fleet: Fleet) -> str:
    """All that has been sent on the feed by now."""
    parts: list[str] = []
    async with fleet.http.stream("GET", "/events", params={"last_event_id": "0-0_0-0"}) as events:
        async for part in events.aiter_text():
            parts.append(part)
            if ": now" in part:
                break
    return "".join(parts)


@pytest.mark.parametrize("form", ["json", pytest.param("console", marks=pytest.mark.slow)])
async def test_no_secret_is_to_be_found_in_anything_that_a_full_run_shows(
    children: Children, tmp_path: Path, form: str
) -> None:
    haul = Haul(SECRETS)
    async with fake_daily() as daily, a_receiver() as receiver:
        daily.token_prefix = "meeting-token-number-"
        receiver.answer = lambda _: web.Response(status=500)
        env = variables(DAILY_API_URL=daily.url, WEBHOOK_URL=receiver.url, LOG_FORMAT=form)
        async with a_fleet(children, tmp_path, haul, **env) as fleet:
            given = await requests_of_all_kinds(fleet)
            haul.add("feed", feed := await told(fleet))
            haul.command_lines()
        await children.stop()
        haul.outputs(children.started)
        for request in receiver.requests:
            haul.add("webhook", request.body.decode())
    assert "cannot join with" in feed
    assert receiver.requests
    haul.secrets = {**SECRETS, **given, "any daily token": "meeting-token-number-"}
    to_its_caller = {(name, "answer to /start") for name in (*given, "any daily token")}
    assert haul.leaks(allowed=to_its_caller) == set()
    assert haul.leaks() == to_its_caller


@pytest.fixture
async def ground(children: Children, redis: Redis, tmp_path: Path) -> AsyncIterator[Ground]:
    async with running_cluster(children) as cluster:
        made = Ground(cluster, children, redis, tmp_path)
        made.prepare()
        yield made
        await made.stop_operators()


async def test_no_secret_is_to_be_found_in_a_cluster_whose_jobs_are_full_of_them(ground: Ground) -> None:
    """What a runner needs comes from its Deployment's Secrets; the operator's own and a launch's go nowhere."""
    haul = Haul(SECRETS)
    ground.cluster.apply(deployment(envFrom=[{"secretRef": {"name": "pipefleet", "optional": True}}]))
    keys = {"PAYLOAD_KEYS": SECRETS["payload key"], "DAILY_API_KEY": KEY}
    ground.cluster.run_image(
        "pipefleet-runner:1", [sys.executable, "-m", "services.runner"], BOT=TELLTALE, LOG_FORMAT="json", **keys
    )
    ground.operator(**variables(LOG_FORMAT="json", LAUNCHER="kubernetes"))
    launch = await ground.offer(
        transport="daily", room_url="https://example.daily.co/room", token=SECRETS["room token"]
    )
    failed = await session_event(ground.redis, launch.session_id, Failed)
    assert "[token]" in failed.message
    for resource in RESOURCES:
        haul.add(f"objects: {resource}", ground.cluster.objects(resource))
    for request in ground.cluster.requests:
        haul.add("request to the API", request.body)
    for pod in ground.cluster.pods():
        haul.add("output of a Pod", ground.cluster.output(pod["metadata"]["name"]))
    haul.outputs(ground.children.started)
    haul.command_lines()
    assert any("cannot join with" in text for _, text in haul.seen)
    assert haul.leaks() == set()


async def test_the_search_finds_a_secret_in_every_channel_and_every_spelling(
    children: Children, redis: Any, tmp_path: Path
) -> None:
    planted = SECRETS["room token"]

    def a_haul() -> Haul:
        return Haul({"planted": planted})

    for spelling in (planted, quote(planted, safe=""), base64.b64encode(f"x{planted}y".encode()).decode()):
        haul = a_haul()
        code = f"print({spelling!r}); import time; time.sleep(60)"
        child = children.start("echo", [sys.executable, "-c", code])
        await child.said(spelling)
        await redis.xadd("{bot}:planted", {"json": spelling})
        haul.outputs([child])
        haul.command_lines()
        await haul.redis(redis)
        haul.add("objects: jobs", [{"spec": {"env": [{"value": spelling}]}}])
        answer = httpx.Response(200, text=spelling, request=httpx.Request("GET", "http://g/route"))
        await haul.answered(answer)
        where = {"output of echo", "command line", "redis", "objects: jobs", "answer to /route"}
        assert haul.leaks() == {("planted", one) for one in where}
        assert haul.leaks(allowed=[("planted", "redis")]) == {("planted", one) for one in where - {"redis"}}
        await redis.delete("{bot}:planted")
        child.kill()
        await child.wait()
    assert not [form for form in forms(planted) if len(form) < 8]
