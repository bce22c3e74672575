import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.gateway import join
from services.gateway.join import ORIGINAL
from services.gateway.parts import ANSWER_S
from shared import contract
from shared.contract import LAUNCH, Leaving, Reason
from shared.launches import decode
from shared.redis.connection import CONNECTIONS, Redis
from shared.redis.streams import between
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.stand_in_runner import StandInRunner

ROOM = "https://example.daily.co/room"


async def test_a_new_session_is_answered_with_its_place_and_its_room_in_one_spelling(gateway: Gateway) -> None:
    answer = await gateway.http.post("/join", json={"room_url": "https://Example.daily.co/room/?t=x"})
    reply = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/sessions/{reply['session_id']}"
    assert reply == {
        "session_id": reply["session_id"],
        "room_url": ROOM,
        "transport": "daily",
        "status": "queued",
        "reused": False,
        "queue_depth": 1,
        "reason": None,
        "message": "",
    }


async def test_a_room_with_a_live_session_gives_that_one(gateway: Gateway, runner: StandInRunner) -> None:
    first = await gateway.join(room_url=ROOM, transport="daily")
    await runner.running()
    answer = await gateway.http.post("/join", json={"room_url": ROOM + "/"})
    assert answer.status_code == 200
    assert answer.headers["location"] == f"/sessions/{first['session_id']}"
    assert answer.json() == {**first, "status": "running", "reused": True, "queue_depth": 0}


async def test_a_room_whose_session_is_over_gives_a_new_one(gateway: Gateway, runner: StandInRunner) -> None:
    first = await gateway.join(room_url=ROOM, transport="daily")
    await runner.end(await runner.running(), Reason.COMPLETED)
    assert (await gateway.join(room_url=ROOM, transport="daily"))["session_id"] != first["session_id"]


@pytest.mark.parametrize("path", ["/join", "/start"])
@pytest.mark.parametrize("told", ["event", "command"])
async def test_a_room_whose_bot_is_about_to_leave_gives_a_new_session_once_it_has_left(
    gateway: Gateway, runner: StandInRunner, path: str, told: str
) -> None:
    """Callers were given a bot that was just leaving, and then sat in an empty room."""
    first = await gateway.join(room_url=ROOM, transport="daily")
    claim = await runner.running()
    if told == "event":
        await runner.report(claim, Leaving(session_id=first["session_id"], attempt=1, reason=Reason.MAX_DURATION))
    else:
        assert (await gateway.http.post("/leave", json={"room_url": ROOM})).status_code == 202
    body = {"room_url": ROOM} if path == "/join" else {"body": {"room_url": ROOM}}
    asked = [asyncio.create_task(gateway.http.post(path, json=body)) for _ in range(3)]
    await asyncio.wait(asked, timeout=0.2)
    assert not any(task.done() for task in asked)
    await runner.end(claim, Reason.LEFT)
    answers = await asyncio.wait_for(asyncio.gather(*asked), 5)
    ids = {answer.json().get("session_id") or answer.json()["sessionId"] for answer in answers}
    assert ids == {(await runner.claim()).launch.session_id}
    assert ids != {first["session_id"]}
    if path == "/join":
        assert sorted(answer.status_code for answer in answers) == [200, 200, 202]


async def test_a_bot_that_takes_too_long_to_leave_is_a_conflict_with_a_time_to_come_back(
    gateway: Gateway, runner: StandInRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join, "LEAVING_WAIT_S", 0.1)
    await gateway.join(room_url=ROOM, transport="daily")
    await runner.running()
    await gateway.http.post("/leave", json={"room_url": ROOM})
    answer = await gateway.http.post("/join", json={"room_url": ROOM})
    assert (answer.status_code, answer.json()["code"]) == (409, "LEAVING")
    assert "leave" in answer.json()["error"]
    assert int(answer.headers["retry-after"]) > 0


async def test_a_bot_that_leaves_for_the_next_attempt_is_reused_at_once(
    gateway: Gateway, runner: StandInRunner
) -> None:
    first = await gateway.join(room_url=ROOM, transport="daily")
    claim = await runner.starting()
    await runner.report(claim, Leaving(session_id=first["session_id"], attempt=1, reason=Reason.JOIN_TIMEOUT))
    answer = await gateway.http.post("/join", json={"room_url": ROOM})
    assert (answer.status_code, answer.json()["session_id"]) == (200, first["session_id"])


async def test_a_gateway_that_stops_does_not_wait_for_a_bot_to_leave(gateway: Gateway, runner: StandInRunner) -> None:
    await gateway.join(room_url=ROOM, transport="daily")
    await runner.running()
    await gateway.http.post("/leave", json={"room_url": ROOM})
    asked = asyncio.create_task(gateway.http.post("/join", json={"room_url": ROOM}))
    await asyncio.wait({asked}, timeout=0.1)
    gateway.parts.feed.stop_waiting()
    assert (await asyncio.wait_for(asked, 5)).status_code == 409


async def test_only_a_new_session_is_logged_as_accepted(gateway: Gateway) -> None:
    with capture_logs() as logs:
        first = await gateway.join(room_url=ROOM, transport="daily")
        await gateway.http.post("/join", json={"room_url": ROOM})
    lines = [(line["event"], line["log_level"], line["session_id"]) for line in logs]
    assert lines == [
        ("session_accepted", "info", first["session_id"]),
        ("session_reused", "debug", first["session_id"]),
    ]


async def test_of_50_joins_at_once_for_one_room_one_is_new_and_49_are_reused(gateway: Gateway, redis: Redis) -> None:
    spellings = [f"https://example.daily.co/room{'/' * (i % 3)}?n={i}" for i in range(50)]
    answers = await asyncio.gather(*(gateway.http.post("/join", json={"room_url": url}) for url in spellings))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [202]
    assert len({answer.json()["session_id"] for answer in answers}) == 1
    assert await redis.xlen(LAUNCH) == 1


async def test_of_300_joins_at_once_for_as_many_rooms_none_is_refused(gateway: Gateway) -> None:
    """More requests at once than one client may open connections."""
    answers = await asyncio.gather(*(gateway.http.post("/join", json={"transport": "none"}) for _ in range(300)))
    assert {answer.status_code for answer in answers} == {202}
    assert sorted(answer.json()["queue_depth"] for answer in answers) == list(range(1, 301))


async def test_a_join_waits_for_a_free_connection_for_longer_than_redis_may_take_to_answer(gateway: Gateway) -> None:
    """On a busy machine some of 300 joins were told that Redis does not answer: `No connection available`."""
    pool: Any = gateway.parts.redis.connection_pool
    busy = [await pool.get_connection() for _ in range(CONNECTIONS)]
    asked = asyncio.create_task(gateway.http.post("/join", json={"transport": "none"}))
    await asyncio.wait({asked}, timeout=1.2 * ANSWER_S)
    assert not asked.done()
    for connection in busy:
        await pool.release(connection)
    assert (await asked).status_code == 202


@pytest.mark.parametrize("transport", ["webrtc", "none"])
async def test_without_a_room_the_session_is_its_own(gateway: Gateway, transport: str) -> None:
    reply = await gateway.join(transport=transport)
    assert reply["room_url"] == f"{transport}://{reply['session_id']}"


async def test_the_launch_carries_what_was_asked_for(gateway: Gateway, runner: StandInRunner) -> None:
    wish = {
        "room_url": ROOM,
        "token": "secret-token",
        "body": {"deep": [1, None, {"x": 2.5}]},
        "deadline_s": 7,
        "max_duration_s": 60.5,
        "labels": {"team": "a"},
    }
    reply = await gateway.join(transport="daily", **wish)
    launch = (await runner.claim()).launch
    assert {name: getattr(launch, name) for name in wish} == wish
    assert (launch.session_id, launch.transport, launch.attempt) == (reply["session_id"], "daily", 1)


async def test_what_is_not_said_comes_from_the_settings(gateway_with: StartGateway, runner: StandInRunner) -> None:
    async with gateway_with(launch_deadline_s=11, max_duration_s=22) as gateway:
        await gateway.join()
    launch = (await runner.claim()).launch
    assert (launch.deadline_s, launch.max_duration_s, launch.token, launch.body) == (11, 22, None, None)


async def test_the_originals_fields_reach_the_bot_in_its_body_under_their_own_names(
    gateway: Gateway, runner: StandInRunner
) -> None:
    await gateway.join(
        body={"mine": 1, "voice": "from the body"}, voice="sonic", personalityId="p", voiceParameters={"speed": 1.5},
        sessionId="theirs", isOnboarding=False, debugTraceId=None,
    )  # fmt: skip
    assert (await runner.claim()).launch.body == {
        "mine": 1,
        "voice": "from the body",
        "personalityId": "p",
        "voiceParameters": {"speed": 1.5},
        "sessionId": "theirs",
        "isOnboarding": False,
        "debugTraceId": None,
    }


async def test_the_originals_fields_need_no_body(gateway: Gateway, runner: StandInRunner) -> None:
    await gateway.join(tenantId="t")
    assert (await runner.claim()).launch.body == {"tenantId": "t"}


async def test_what_the_original_did_not_define_is_let_through(gateway: Gateway, runner: StandInRunner) -> None:
    told = {"speed": 1.5, "pitch": "low"}
    await gateway.join(transport="none", voiceParameters=told, personalityId="p", voiceOnly=True)
    claim = await runner.claim()
    assert claim.launch.body == {"personalityId": "p", "voiceParameters": told, "voiceOnly": True}


def test_the_original_has_18_fields_besides_room_and_token() -> None:
    assert len(ORIGINAL) == 18


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "room_url"),
        ({"room_url": None}, "room_url"),
        ({"room_url": 5}, "room_url"),
        ({"room_url": ""}, "room_url"),
        ({"room_url": "http://example.daily.co/room"}, "room_url"),
        ({"room_url": "https://evil.example/room"}, "room_url"),
        ({"room_url": "https://u:p@example.daily.co/room"}, "room_url"),
        ({"transport": "webrtc", "room_url": "nowhere"}, "room_url"),
        ({"transport": "carrier-pigeon"}, "transport"),
        ({"transport": "none", "token": "x" * 10_000}, "token"),
        ({"transport": "none", "deadline_s": 0}, "deadline_s"),
        ({"transport": "none", "deadline_s": "soon"}, "deadline_s"),
        ({"transport": "none", "deadline_s": 1e9}, "deadline_s"),
        ({"transport": "none", "max_duration_s": 14_401}, "max_duration_s"),
        ({"transport": "none", "max_duration_s": -1}, "max_duration_s"),
        ({"transport": "none", "labels": {"a": 1}}, "labels"),
        ({"transport": "none", "labels": {"a": "x" * 300}}, "labels"),
        ({"transport": "none", "labels": {str(i): "" for i in range(33)}}, "labels"),
        ({"transport": "none", "body": [1], "voice": "x"}, "body"),
        ({"transport": "none", "persona": 7}, "persona"),
        ({"transport": "none", "persona": {"name": "Ada", "mood": "good"}}, "persona"),
        ({"transport": "none", "voice": ["nova"]}, "voice"),
        ({"transport": "none", "voiceOnly": "yes"}, "voiceOnly"),
        ({"transport": "none", "voiceParameters": {"stability": 1.5}}, "voiceParameters.stability"),
        ({"transport": "none", "voiceParameters": {"speed": "fast"}}, "voiceParameters.speed"),
        ({"transport": "none", "voice": "v", "body": {"voiceParameters": 1}}, "voiceParameters"),
        ({"transport": "none", "roomUrl": ROOM}, "roomUrl"),
        ({"transport": "none", "rom_url": ROOM}, "rom_url"),
    ],
)
async def test_a_bad_field_is_named_in_one_sentence(gateway: Gateway, body: dict[str, Any], field: str) -> None:
    answer = await gateway.http.post("/join", json=body)
    error = answer.json()
    assert answer.status_code == error["status"] == 400
    assert error["code"] == "INVALID_BODY"
    assert error["error"] == error["message"]
    assert error["error"].startswith(f"{field}: ")


async def test_what_a_field_may_be_is_named(gateway: Gateway) -> None:
    answer = await gateway.http.post("/join", json={"transport": "carrier-pigeon"})
    assert answer.json()["error"] == "transport: must be one of daily, webrtc, none"


@pytest.mark.parametrize(("depth", "status"), [(64, 202), (65, 400), (400, 400)])
async def test_a_body_may_be_nested_only_as_deeply_as_every_reader_can_follow(
    gateway: Gateway, depth: int, status: int
) -> None:
    body: Any = 1
    for _ in range(depth):
        body = [body]
    assert (await gateway.http.post("/join", json={"transport": "none", "body": body})).status_code == status


async def test_a_full_queue_refuses_with_a_time_to_come_back(gateway_with: StartGateway, runner: StandInRunner) -> None:
    async with gateway_with(queue_limit=2) as gateway:
        first, second = await gateway.join(), await gateway.join()
        refused = await gateway.http.post("/join", json={"transport": "none"})
        assert (refused.status_code, refused.json()["code"]) == (429, "AT_CAPACITY")
        assert int(refused.headers["retry-after"]) > 0
        reused = await gateway.http.post("/join", json={"transport": "none", "room_url": second["room_url"]})
        assert reused.status_code == 200
        assert (await runner.claim()).launch.session_id == first["session_id"]
        await gateway.join()


async def test_waiting_ends_when_the_bot_is_in_its_room(gateway: Gateway, runner: StandInRunner) -> None:
    asked = asyncio.create_task(gateway.http.post("/join?wait=30", json={"transport": "none"}))
    claim = await runner.starting()
    assert not asked.done()
    await runner.report(claim, contract.Running(session_id=claim.launch.session_id, attempt=1))
    answer = await asked
    assert (answer.status_code, answer.json()["status"]) == (202, "running")


@pytest.mark.parametrize("status", ["ended", "failed"])
async def test_waiting_ends_when_the_session_is_over(gateway: Gateway, runner: StandInRunner, status: str) -> None:
    asked = asyncio.create_task(gateway.http.post("/join?wait=30", json={"transport": "none"}))
    claim = await runner.starting()
    if status == "ended":
        await runner.end(claim, Reason.COMPLETED)
    else:
        await runner.fail(claim, Reason.BOT_ERROR, "no")
    reply = (await asked).json()
    why = ("completed", "") if status == "ended" else ("bot_error", "no")
    assert (reply["status"], reply["reason"], reply["message"]) == (status, *why)


async def test_a_lost_attempt_is_no_reason_while_the_next_one_waits(gateway: Gateway, runner: StandInRunner) -> None:
    asked = asyncio.create_task(gateway.http.post("/join?wait=60", json={"transport": "none"}))
    await runner.lose(await runner.starting(), Reason.BOT_DIED)
    await asyncio.wait({asked}, timeout=0.1)
    gateway.parts.feed.stop_waiting()
    reply = (await asyncio.wait_for(asked, 10)).json()
    assert (reply["status"], reply["reason"], reply["message"]) == ("queued", None, "")


async def test_waiting_ends_when_the_time_is_up(gateway: Gateway) -> None:
    answer = await gateway.http.post("/join?wait=0.05", json={"transport": "none"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


async def test_waiting_for_a_bot_that_is_in_its_room_already_takes_no_time(
    gateway: Gateway, runner: StandInRunner
) -> None:
    room = (await gateway.join())["room_url"]
    await runner.running()
    async with asyncio.timeout(5):
        answer = await gateway.http.post("/join?wait=60", json={"transport": "none", "room_url": room})
    assert (answer.status_code, answer.json()["status"]) == (200, "running")


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "soon"])
async def test_a_wait_out_of_bounds_is_refused_and_starts_nothing(gateway: Gateway, redis: Redis, wait: str) -> None:
    answer = await gateway.http.post("/join", params={"wait": wait}, json={"transport": "none"})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_QUERY")
    assert answer.json()["error"].startswith("wait: ")
    assert await redis.xlen(LAUNCH) == 0


async def test_token_and_body_are_in_the_launch_and_in_no_answer_event_or_log(
    gateway: Gateway, redis: Redis, runner: StandInRunner, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = {"token": "tok-SECRET-1", "body": {"key": "SECRET-2"}, "voice": "SECRET-3"}
    answers = [await gateway.http.post("/join", json={"room_url": ROOM, **secrets}) for _ in range(2)]
    session_id = answers[0].json()["session_id"]
    paths = (f"/sessions/{session_id}", "/sessions", "/fleet")
    answers += [await gateway.http.get(path) for path in paths]
    answers.append(await gateway.http.post("/join", json={"room_url": ROOM, **secrets, "extra": "SECRET-4"}))
    answers.append(await gateway.http.post("/join", json={"room_url": ROOM, "token": ["SECRET-5"]}))
    await runner.fail(await runner.running(), Reason.BOT_ERROR, "no")
    answers += [await gateway.http.get(path) for path in paths]
    events = [fields for _, fields in await between(redis, contract.EVENTS)]
    assert "SECRET" not in repr([answer.text for answer in answers] + events)
    assert "SECRET" not in "".join(capfd.readouterr())


async def test_the_launch_in_the_stream_is_whole(gateway: Gateway, redis: Redis) -> None:
    await gateway.join(token="tok", body={"a": 1})
    [(_, fields)] = await between(redis, LAUNCH)
    assert (decode(fields).token, decode(fields).body) == ("tok", {"a": 1})
