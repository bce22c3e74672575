"""`createDailyRoom`, and the rooms that it leaves to be removed. Daily's API is played by a local server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import pytest

from services.gateway.daily.api import DailyApi, DailyError
from services.gateway.daily.room_removal import ACCEPTED_WITHIN_S, to_be_removed
from shared.contract import EVENTS, FIELD, LAUNCH, RELAUNCH, REMOVERS, ROOMS, Reason, RoomNote, session_key
from shared.events import over
from shared.redis.connection import Redis
from shared.redis.entries import encode
from tests.fakes.daily_api import KEY, FakeDaily, fake_daily
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.stand_in_runner import StandInRunner

NEW_ROOM = {"createDailyRoom": True, "body": {"language": "en"}}
LIMITED = (429, {"error": "rate-limit-error", "info": "too many"})
NOT_MADE = "Daily did not make the room: "
NOTED_MS = 1_000_000
LATER_MS = NOTED_MS + int(ACCEPTED_WITHIN_S * 1000)


@pytest.fixture
async def daily() -> AsyncIterator[FakeDaily]:
    async with fake_daily() as account:
        yield account


@pytest.fixture
async def gateway(daily: FakeDaily, gateway_with: StartGateway) -> AsyncIterator[Gateway]:
    async with gateway_with(daily_api_key=KEY, daily_api_url=daily.url) as running:
        yield running


async def notes(redis: Redis) -> int:
    return int(await redis.xlen(ROOMS))


async def until_forgotten(redis: Redis) -> None:
    """Returns when no room is noted; the last thing of a removal."""
    async with asyncio.timeout(10):
        while await notes(redis):
            await asyncio.sleep(0.01)
    pending: Any = await redis.xpending(ROOMS, REMOVERS)
    assert pending["pending"] == 0


@pytest.mark.parametrize(
    ("is_over", "now_ms", "removed"),
    [
        (None, NOTED_MS, False),
        (None, LATER_MS, False),
        (None, LATER_MS + 1, True),
        (False, LATER_MS + 1, False),
        (True, NOTED_MS, True),
    ],
)
def test_a_room_stays_as_long_as_its_session_lives_or_may_yet_begin(
    is_over: bool | None, now_ms: int, removed: bool
) -> None:
    assert to_be_removed(is_over, NOTED_MS, now_ms) is removed


@pytest.mark.parametrize("path", ["/start", "/v1/public/my-agent/start"])
@pytest.mark.parametrize("transport", [{}, {"transport": "daily"}])
async def test_a_new_room_is_private_and_the_client_has_a_token_for_it_alone(
    gateway: Gateway, daily: FakeDaily, runner: StandInRunner, path: str, transport: dict[str, str]
) -> None:
    answer = (await gateway.http.post(path, json={**NEW_ROOM, **transport})).json()
    launch = (await runner.claim()).launch
    ((name, room),) = daily.rooms.items()
    assert room["privacy"] == "private"
    assert answer == {"sessionId": launch.session_id, "dailyRoom": launch.room_url, "dailyToken": "token-1"}
    assert (launch.transport, launch.room_url) == ("daily", f"https://example.daily.co/{name}")
    assert (launch.token, launch.owner, launch.body) == (None, True, {"language": "en"})
    longest_s = launch.deadline_s * 3 + launch.max_duration_s
    assert room["properties"]["exp"] > longest_s
    assert daily.tokens == [{"exp": room["properties"]["exp"], "room_name": name}]


async def test_properties_of_room_and_token_are_passed_on(gateway: Gateway, daily: FakeDaily) -> None:
    room = {"exp": 1_900_000_000, "enable_chat": True, "geo": "eu-central-1"}
    token = {"user_name": "Ann", "is_owner": True, "room_name": "of-somebody-else"}
    more = {"dailyRoomProperties": room, "dailyMeetingTokenProperties": token}
    assert (await gateway.http.post("/start", json={**NEW_ROOM, **more})).status_code == 200
    ((name, made),) = daily.rooms.items()
    assert made["properties"] == {**room, "eject_at_room_exp": True}
    assert daily.tokens == [{**token, "exp": 1_900_000_000, "room_name": name}]


async def test_a_webrtc_session_gets_no_room_whatever_else_it_says(gateway: Gateway, daily: FakeDaily) -> None:
    answer = await gateway.http.post("/start", json={**NEW_ROOM, "transport": "webrtc"})
    assert (answer.status_code, list(answer.json())) == (200, ["sessionId"])
    assert daily.asked == []


async def test_a_room_is_removed_as_soon_as_its_session_is_over(
    daily: FakeDaily,
    gateway_with: StartGateway,
    redis: Redis,
    runner: StandInRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the feed that says so, not the next look."""
    monkeypatch.setattr("services.gateway.daily.room_removal.LOOK_EVERY_S", 600.0)
    async with gateway_with(daily_api_key=KEY, daily_api_url=daily.url) as gateway:
        await gateway.http.post("/start", json=NEW_ROOM)
        await gateway.http.post("/start", json=NEW_ROOM)
        over, living = await runner.running(), await runner.running()
        assert len(daily.rooms) == await notes(redis) == 2
        await runner.end(over, Reason.COMPLETED)
        await daily.until_asked("DELETE")
        assert len(daily.rooms) == 1
        await runner.fail(living, Reason.BOT_ERROR, "no")
        await daily.until_empty()
        await until_forgotten(redis)


async def test_a_session_in_a_room_of_its_own_leaves_nothing_but_its_history(
    gateway: Gateway, daily: FakeDaily, redis: Redis, runner: StandInRunner
) -> None:
    session_id = (await gateway.http.post("/start", json=NEW_ROOM)).json()["sessionId"]
    await runner.end(await runner.running(), Reason.COMPLETED)
    await daily.until_empty()
    await until_forgotten(redis)
    keys: Any = await redis.keys()
    streams = [EVENTS, LAUNCH, RELAUNCH, ROOMS]
    assert sorted(keys) == sorted([*streams, session_key(session_id)])
    assert [await redis.xlen(stream) for stream in streams[1:]] == [0, 0, 0]


async def test_a_room_that_went_with_its_session_is_no_place_to_redrive_it_to(
    gateway: Gateway, runner: StandInRunner
) -> None:
    await gateway.http.post("/start", json=NEW_ROOM)
    await runner.fail(await runner.running(), Reason.BOT_ERROR, "no")
    (letter,) = (await gateway.http.get("/dead")).json()["dead"]
    answer = await gateway.http.post(f"/dead/{letter['id']}/redrive")
    assert (answer.status_code, answer.json()["code"]) == (409, "REFUSED")


async def test_a_room_that_is_not_there_any_more_counts_as_removed(
    gateway: Gateway, daily: FakeDaily, redis: Redis, runner: StandInRunner
) -> None:
    await gateway.http.post("/start", json=NEW_ROOM)
    daily.rooms.clear()
    await runner.end(await runner.running(), Reason.LEFT)
    await daily.until_asked("DELETE")
    await until_forgotten(redis)


async def test_while_daily_is_away_a_removal_waits_for_it(
    gateway: Gateway, daily: FakeDaily, redis: Redis, runner: StandInRunner
) -> None:
    await gateway.http.post("/start", json=NEW_ROOM)
    daily.away = True
    await runner.end(await runner.running(), Reason.LEFT)
    await daily.until_asked("DELETE")
    assert await notes(redis) == 1
    daily.away = False
    await daily.until_empty()
    await until_forgotten(redis)


async def test_a_room_that_a_crashed_gateway_left_behind_goes_after_the_grace(
    daily: FakeDaily, gateway_with: StartGateway, redis: Redis
) -> None:
    """It was noted, and made; then the gateway died before it offered the session."""
    daily.rooms["pf-left"] = {}
    note = RoomNote(session_id="never-accepted", room_name="pf-left")
    await redis.xadd(ROOMS, {FIELD: encode(note)}, id="1000-0")
    async with gateway_with(daily_api_key=KEY, daily_api_url=daily.url):
        await daily.until_empty()
        await until_forgotten(redis)


async def test_looking_for_rooms_does_not_read_what_has_happened_in_them(
    gateway: Gateway, daily: FakeDaily, redis: Redis, runner: StandInRunner
) -> None:
    """Each end of a session had every gateway read the whole histories of all sessions in such rooms."""
    living = (await gateway.http.post("/start", json=NEW_ROOM)).json()["sessionId"]
    await runner.running()
    await gateway.http.post("/start", json=NEW_ROOM)
    ending = await runner.running()
    await redis.config_resetstat()
    await runner.end(ending, Reason.LEFT)
    await daily.until_asked("DELETE")
    async with asyncio.timeout(10):
        while await notes(redis) > 1:
            await asyncio.sleep(0.01)
    read = await redis.info("commandstats")
    assert read["cmdstat_ttl"]["calls"] >= 2
    assert await over(redis, [living, ending.launch.session_id, "nobody"]) == [False, True, None]
    assert "cmdstat_xrange" not in read or read["cmdstat_xrange"]["calls"] <= 10


async def test_several_gateways_ask_daily_once_for_each_room(
    daily: FakeDaily, gateway_with: StartGateway, redis: Redis
) -> None:
    settings = {"daily_api_key": KEY, "daily_api_url": daily.url}
    for number in range(3):
        daily.rooms[f"pf-{number}"] = {}
        note = RoomNote(session_id=f"s{number}", room_name=f"pf-{number}")
        await redis.xadd(ROOMS, {FIELD: encode(note)}, id=f"1000-{number}")
    async with gateway_with(**settings), gateway_with(**settings), gateway_with(**settings):
        await daily.until_empty()
        await until_forgotten(redis)
    assert sorted(daily.asked) == [f"DELETE /rooms/pf-{number}" for number in range(3)]


@pytest.mark.parametrize(
    ("answers", "more", "status", "code", "error", "in_doubt"),
    [
        ([LIMITED] * 3, {}, 429, "RATE_LIMITED", "Daily lets this account", True),
        (
            [(401, {"error": "authentication-error"})],
            {},
            502,
            "DAILY_FAILED",
            NOT_MADE + "auth",
            False,
        ),
        (
            [(400, {"error": "authorization-header-error"})],
            {},
            502,
            "DAILY_FAILED",
            NOT_MADE,
            False,
        ),
        (
            [(500, {"error": "server-error"})],
            {},
            502,
            "DAILY_FAILED",
            NOT_MADE + "server-error",
            True,
        ),
        (
            [(200, {"no": "url"})],
            {},
            502,
            "DAILY_FAILED",
            NOT_MADE + "an answer without a room",
            True,
        ),
        ([(200, {"url": "nowhere"})], {}, 502, "DAILY_FAILED", NOT_MADE + "its URL must be", False),
        (
            [],
            {"dailyRoomProperties": {"exp": "soon"}},
            400,
            "INVALID_BODY",
            "dailyRoomProperties: invalid-request",
            False,
        ),
        ([], {"dailyRoomProperties": [1]}, 400, "INVALID_BODY", "dailyRoomProperties: ", False),
        (
            [],
            {"dailyMeetingTokenProperties": {"unknown": 1}},
            400,
            "INVALID_BODY",
            "dailyMeetingTokenProperties: ",
            False,
        ),
        ([], {"body": {"room_url": 1}, "transport": "x"}, 400, "INVALID_BODY", "transport: ", False),
    ],
)
async def test_a_room_that_cannot_be_made_is_a_clear_error_and_leaves_nothing(
    gateway: Gateway,
    daily: FakeDaily,
    redis: Redis,
    answers: list[Any],
    more: dict[str, Any],
    status: int,
    code: str,
    error: str,
    in_doubt: bool,
) -> None:
    """Where it is not known whether there is a room now, the note of it stays, and goes with it."""
    daily.answers += answers
    answer = await gateway.http.post("/start", json={**NEW_ROOM, **more})
    body = answer.json()
    assert (answer.status_code, body["code"], body["status"]) == (status, code, status)
    assert body["error"].startswith(error)
    assert KEY not in answer.text
    assert ("Retry-After" in answer.headers) is (status == 429)
    assert await redis.xlen(LAUNCH) == 0
    assert daily.rooms == {}
    assert await notes(redis) == in_doubt


async def test_daily_out_of_reach_is_a_clear_error(gateway_with: StartGateway, redis: Redis) -> None:
    async with gateway_with(daily_api_key=KEY, daily_api_url="http://127.0.0.1:9") as gateway:
        answer = await gateway.http.post("/start", json=NEW_ROOM)
    assert (answer.status_code, answer.json()["code"]) == (502, "DAILY_FAILED")
    assert "no answer (ConnectError)" in answer.json()["error"]
    assert await redis.xlen(LAUNCH) == 0


@asynccontextmanager
async def answering(answer: bytes, *, trickles: bool) -> AsyncIterator[str]:
    """A server that gives this answer to everything; one that `trickles` does not come to its end."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(answer) + 1_000_000 * trickles))
            writer.write(answer)
            while trickles:
                await asyncio.sleep(0.02)
                writer.write(b" ")
                await writer.drain()
        writer.close()
        over.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        await over.wait()


@pytest.mark.parametrize(
    ("answer", "trickles", "says"),
    [
        (b"{", True, "no answer (TimeoutError)"),
        (b'{"url": "K\xe4se"}', False, "an answer without a room"),
        (b'{"url": ' + b"[" * 100_000, False, "an answer without a room"),
    ],
    ids=["a trickle", "not UTF-8", "nested"],
)
async def test_whatever_daily_answers_comes_to_its_end_as_an_error_of_daily(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, trickles: bool, says: str
) -> None:
    """A byte every few seconds held up a start, and the removal of all rooms, for as long as it went on."""
    if trickles:
        monkeypatch.setattr("services.gateway.daily.api.ANSWER_S", 0.2)
    async with answering(answer, trickles=trickles) as url:
        api = DailyApi(url, KEY)
        async with aclosing(api), asyncio.timeout(5):
            with pytest.raises(DailyError) as failed:
                await api.create_room("r", {})
    assert str(failed.value) == says


async def test_a_moment_of_too_many_requests_is_waited_out(gateway: Gateway, daily: FakeDaily) -> None:
    daily.answers += [LIMITED, LIMITED]
    assert (await gateway.http.post("/start", json=NEW_ROOM)).status_code == 200
    assert daily.asked == ["POST /rooms"] * 3 + ["POST /meeting-tokens"]


async def test_a_full_queue_makes_no_room(daily: FakeDaily, gateway_with: StartGateway) -> None:
    async with gateway_with(daily_api_key=KEY, daily_api_url=daily.url, queue_limit=1) as gateway:
        await gateway.join()
        answer = await gateway.http.post("/start", json=NEW_ROOM)
    assert (answer.status_code, answer.json()["code"]) == (429, "AT_CAPACITY")
    assert daily.asked == []
