import gc
import time
from typing import Any

import pytest

from services.gateway.pipecat.start import StartRequest
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.stand_in_runner import StandInRunner

PAGE = {"createDailyRoom": False, "enableDefaultIceServers": True, "transport": "webrtc"}
"""What the page of pipecat-ai-prebuilt sends."""
ROOM = "https://example.daily.co/room"


@pytest.mark.parametrize("path", ["/start", "/v1/public/my-agent/start"])
@pytest.mark.parametrize("body", [PAGE, {}, {"body": {"language": "en"}}, {"transport": "webrtc", "later": 1}])
async def test_webrtc_is_what_is_started(
    gateway: Gateway, runner: StandInRunner, path: str, body: dict[str, Any]
) -> None:
    answer = await gateway.http.post(path, json=body)
    launch = (await runner.claim()).launch
    assert (answer.status_code, answer.json()) == (200, {"sessionId": launch.session_id})
    assert (launch.transport, launch.room_url) == ("webrtc", f"webrtc://{launch.session_id}")
    assert launch.body == body.get("body")


@pytest.mark.parametrize("path", ["/start", "/v1/public/my-agent/start"])
async def test_no_body_is_no_particular_wish(gateway: Gateway, runner: StandInRunner, path: str) -> None:
    """`startBotAndConnect({ endpoint })` of Pipecat's JavaScript client says JSON and sends nothing."""
    for headers in ({"Content-Type": "application/json"}, {}):
        answer = await gateway.http.post(path, headers=headers)
        launch = (await runner.claim()).launch
        assert (answer.status_code, answer.json()) == (200, {"sessionId": launch.session_id})
        assert launch.transport == "webrtc"


@pytest.mark.parametrize("transport", [{"transport": "daily"}, {}])
async def test_a_daily_room_of_ones_own_is_in_the_body(
    gateway: Gateway, runner: StandInRunner, transport: dict[str, str]
) -> None:
    body = {"room_url": ROOM + "/", "token": "secret", "more": 1}
    answer = await gateway.http.post("/start", json={**transport, "body": body})
    launch = (await runner.claim()).launch
    assert answer.json() == {"sessionId": launch.session_id}
    assert (launch.transport, launch.room_url, launch.token, launch.body) == ("daily", ROOM, "secret", body)


async def test_ice_servers_are_given_to_those_who_ask_where_there_are_some(gateway_with: StartGateway) -> None:
    async with gateway_with(ice_servers=("stun:a.example", "stun:b.example")) as gateway:
        asked = (await gateway.http.post("/start", json=PAGE)).json()
        not_asked = (await gateway.http.post("/start", json={"transport": "webrtc"})).json()
    assert asked["iceConfig"] == {"iceServers": [{"urls": ["stun:a.example", "stun:b.example"]}]}
    assert "iceConfig" not in not_asked


async def test_a_turn_server_comes_with_a_credential_of_this_session(gateway_with: StartGateway) -> None:
    urls = ("turn:a.example", "stun:b.example", "turns:a.example:443?transport=tcp")
    async with gateway_with(ice_servers=urls, turn_secret="turn-secret") as gateway:
        asked = (await gateway.http.post("/start", json=PAGE)).json()
        longest_s = gateway.parts.settings.max_duration_s
    stun, turn = asked["iceConfig"]["iceServers"]
    assert stun == {"urls": ["stun:b.example"]}
    assert turn["urls"] == ["turn:a.example", "turns:a.example:443?transport=tcp"]
    good_until, _, whose = turn["username"].partition(":")
    assert whose == asked["sessionId"]
    assert int(good_until) > time.time() + longest_s
    assert "turn-secret" not in str(asked)


@pytest.mark.parametrize(
    ("body", "status", "start"),
    [
        ({"createDailyRoom": True, "transport": "daily"}, 501, "createDailyRoom: DAILY_API_KEY"),
        ({"transport": "daily"}, 400, "body.room_url: "),
        ({"transport": "daily", "body": {"token": "secret"}}, 400, "body.room_url: "),
        ({"transport": "daily", "body": {"room_url": 5}}, 400, "room_url: "),
        ({"transport": "daily", "body": {"room_url": "https://evil.example/x"}}, 400, "room_url: "),
        ({"transport": "daily", "body": {"room_url": ROOM, "token": {"secret": 1}}}, 400, "token: "),
        ({"transport": "websocket"}, 400, "transport: "),
        ({"transport": "none"}, 400, "transport: "),
        ({"createDailyRoom": "maybe"}, 400, "createDailyRoom: "),
    ],
)
async def test_what_cannot_be_started_is_said_clearly(
    gateway: Gateway, body: dict[str, Any], status: int, start: str
) -> None:
    answer = await gateway.http.post("/start", json=body)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.json()["error"].startswith(start)
    assert "secret" not in answer.text


async def test_at_capacity_the_answer_is_what_pipecats_clients_know(gateway_with: StartGateway) -> None:
    async with gateway_with(queue_limit=1) as gateway:
        await gateway.http.post("/start", json=PAGE)
        answer = await gateway.http.post("/start", json=PAGE)
    assert (answer.status_code, answer.json()["code"]) == (429, "AT_CAPACITY")


async def test_a_body_of_more_than_1_mb_is_too_large(gateway: Gateway) -> None:
    answer = await gateway.http.post("/start", json={"body": {"text": "x" * 1_048_576}})
    assert (answer.status_code, answer.json()["code"]) == (413, "TOO_LARGE")


async def test_status_tells_the_transports(gateway: Gateway) -> None:
    assert (await gateway.http.get("/status")).json() == {"status": "ready", "transports": ["webrtc", "daily"]}


async def test_nothing_of_a_refused_start_stays_in_memory(gateway: Gateway) -> None:
    """An error that was made once and raised each time kept the frames of all requests, with their bodies."""
    for _ in range(3):
        answer = await gateway.http.post("/start", json={"createDailyRoom": True, "body": {"token": "secret"}})
        assert answer.status_code == 501
    gc.collect()
    assert [one for one in gc.get_objects() if type(one) is StartRequest] == []
