"""Which of several bots a request asks for."""

from typing import Any

import pytest

from shared.contract import launch_stream
from shared.launches import Launches
from shared.redis.connection import Redis
from tests.gateway.conftest import Gateway, StartGateway

BOTS = "sales=sales.py,support=acme.support"
ROOM = {"transport": "webrtc"}


async def waiting(redis: Redis, agent: str) -> int:
    return await redis.xlen(launch_stream(agent, 1))


@pytest.mark.parametrize(
    ("path", "body", "agent"),
    [
        ("/join", {**ROOM, "agent": "sales"}, "sales"),
        ("/start?agent=support", ROOM, "support"),
        ("/v1/public/sales/start", ROOM, "sales"),
    ],
)
async def test_a_request_that_names_an_agent_waits_for_a_runner_that_has_it(
    gateway_with: StartGateway, redis: Redis, path: str, body: dict[str, Any], agent: str
) -> None:
    async with gateway_with(bots=BOTS) as gateway:
        assert (await gateway.http.post(path, json=body)).is_success
    assert await waiting(redis, agent) == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/join", {**ROOM, "agent": "lawyer"}, 400, "agent: must be one of sales, support"),
        ("/join", ROOM, 400, "agent: must be one of sales, support"),
        ("/start?agent=lawyer", ROOM, 400, "agent: must be one of sales, support"),
        ("/start", ROOM, 400, "agent: must be one of sales, support"),
        ("/v1/public/lawyer/start", ROOM, 404, "There is no agent of this name, but sales, support."),
    ],
)
async def test_an_agent_that_the_fleet_has_not_is_refused_with_the_names_of_those_that_it_has(
    gateway_with: StartGateway, redis: Redis, path: str, body: dict[str, Any], status: int, sentence: str
) -> None:
    async with gateway_with(bots=BOTS) as gateway:
        answer = await gateway.http.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]) == (status, sentence)
    assert await Launches(redis).depth() == 0


async def test_beside_named_bots_a_default_one_serves_whoever_names_none(
    gateway_with: StartGateway, redis: Redis
) -> None:
    async with gateway_with(bot="bot.py", bots=BOTS) as gateway:
        for path in ("/join", "/start"):
            assert (await gateway.http.post(path, json=ROOM)).is_success
    assert await waiting(redis, "") == 2


async def test_in_a_fleet_with_one_bot_no_agent_can_be_named_but_any_as_with_pipecat_cloud(
    gateway: Gateway, redis: Redis
) -> None:
    answer = await gateway.http.post("/join", json={**ROOM, "agent": "sales"})
    assert (answer.status_code, answer.json()["error"]) == (400, "agent: must not be given, for this fleet has one bot")
    assert (await gateway.http.post("/v1/public/any/start", json=ROOM)).is_success
    assert await waiting(redis, "") == 1


async def test_sessions_show_their_agent_and_are_listed_by_it(gateway_with: StartGateway) -> None:
    async with gateway_with(bot="bot.py", bots=BOTS) as gateway:
        for body in (ROOM, {**ROOM, "agent": "sales"}, {**ROOM, "agent": "support"}):
            joined = (await gateway.http.post("/join", json=body)).json()
        shown = (await gateway.http.get(f"/sessions/{joined['session_id']}")).json()
        assert shown["agent"] == shown["timeline"][0]["agent"] == "support"
        for query, listed in (({}, ["", "sales", "support"]), ({"agent": "sales"}, ["sales"]), ({"agent": ""}, [""])):
            answer = await gateway.http.get("/sessions", params=query)
            assert [session["agent"] for session in answer.json()["sessions"]] == listed


async def test_a_waiting_session_of_an_agent_can_be_withdrawn_also_by_a_gateway_that_does_not_know_the_agent(
    gateway_with: StartGateway, redis: Redis
) -> None:
    async with gateway_with(bots=BOTS) as gateway:
        joined = (await gateway.http.post("/join", json={**ROOM, "agent": "sales"})).json()
    async with gateway_with() as other:
        answer = await other.http.delete(f"/sessions/{joined['session_id']}")
    assert (answer.status_code, answer.json()["status"]) == (202, "ended")
    assert await waiting(redis, "sales") == 0
