"""The gateway is as its OpenAPI document says, whatever it is asked: explored by schemathesis, the same each time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, checks
from schemathesis.core.result import Ok

from shared.contract import Outcome, Reason
from shared.redis.connection import Redis
from tests.fakes.daily_api import KEY, fake_daily
from tests.gateway.stand_in_runner import StandInRunner
from tests.gateway.test_process import started
from tests.processes import Children

KEYS = {"JOIN_KEYS": "join", "ADMIN_KEYS": "admin"}
CHECKS = [
    getattr(checks, name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "unsupported_method",
    )
]
ENDLESS = {"GET /events", "GET /sessions/{session_id}/events"}
"""They answer for as long as their caller listens: asked for nothing that is there."""


@dataclass(frozen=True)
class Place:
    """A gateway, a key for it, and what there is in its fleet."""

    url: str
    headers: dict[str, str]
    session_id: str = "none"
    letter_id: str = "0-0"


def explore(place: Place, examples: int, mode: GenerationMode) -> set[tuple[str, int]]:
    """Ask so many things of each operation; gives the statuses that there were."""
    schema = schemathesis.openapi.from_url(f"{place.url}/schema/openapi.json")
    seen: set[tuple[str, int]] = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if operation.label != "GET /events":
            seen |= {(operation.label, status) for status in asked_of(operation, place, examples, mode)}
    return seen


def asked_of(operation: Any, place: Place, examples: int, mode: GenerationMode) -> set[int]:
    """Ask so many things of one; gives the statuses."""
    seen = set()

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        adapt(case, place, operation.label)
        response = case.call(base_url=place.url, headers=place.headers, timeout=20)
        seen.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    with suppress(Unsatisfiable):  # nothing can be wrong about a request without parameters
        ask()
    return seen


def adapt(case: Case[Any], place: Place, label: str) -> None:
    """Every second time, ask for what is there; and wait for nothing."""
    real = len(str(case.query) + str(case.body)) % 2 == 0
    if real and label not in ENDLESS:
        for name, value in (("session_id", place.session_id), ("letter_id", place.letter_id)):
            if name in case.path_parameters:
                case.path_parameters[name] = value
    if isinstance(case.query.get("wait"), int | float):
        case.query["wait"] = min(case.query["wait"], 0.01)
    body: Any = case.body
    if isinstance(body, dict):
        if isinstance(body.get("wait"), int | float):
            body["wait"] = min(body["wait"], 0.01)
        if real and "session_id" in body:
            body["session_id"] = place.session_id


@asynccontextmanager
async def a_fleet(children: Children, runner: StandInRunner) -> AsyncIterator[Place]:
    """A gateway with a session whose bot takes what it is sent, and with a dead letter."""
    more = {"LAUNCH_DEADLINE": "1000", "QUEUE_LIMIT": "100000", **KEYS}
    async with (
        fake_daily() as daily,
        started(children, DAILY_API_KEY=KEY, DAILY_API_URL=daily.url, **more) as (child, http),
    ):
        http.headers["Authorization"] = "Bearer admin"
        await join(http)
        await runner.fail(await runner.starting(), Reason.BOT_ERROR, "no")
        session_id = await join(http)
        claim = await runner.running()

        async def take() -> None:
            while True:
                entry, command = await runner.command(claim)
                result = {"sdp": "v=0", "type": "answer", "pc_id": "1"}
                await runner.reply(claim, entry, command, Outcome.DELIVERED, result=result)

        taking = asyncio.create_task(take())
        letter_id = (await http.get("/dead")).json()["dead"][0]["id"]
        try:
            yield Place(str(http.base_url), {"Authorization": "Bearer admin"}, session_id, letter_id)
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
        assert child.traces() == []
        assert "request_failed" not in child.output()


async def join(http: httpx.AsyncClient) -> str:
    answer = await http.post("/join", json={"transport": "webrtc"})
    return str(answer.json()["session_id"])


@pytest.mark.parametrize("examples", [4, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
async def test_the_gateway_answers_as_its_document_says(
    children: Children, runner: StandInRunner, redis: Redis, examples: int, mode: GenerationMode
) -> None:
    async with a_fleet(children, runner) as place:
        seen = await asyncio.to_thread(explore, place, examples, mode)
    statuses = {status for _, status in seen}
    if mode is GenerationMode.POSITIVE:
        assert {200, 202, 400, 404} <= statuses
        assert not {401, 403} & statuses
    else:  # the key is one of the things that can be wrong
        assert {400, 404} <= statuses


@pytest.mark.parametrize("headers", [{}, {"X-Bot-Secret": "another"}])
async def test_without_its_key_the_gateway_answers_so_wherever_one_is_needed(
    children: Children, runner: StandInRunner, headers: dict[str, str]
) -> None:
    async with started(children, **KEYS) as (_, http):
        place = Place(str(http.base_url), headers)
        seen = await asyncio.to_thread(explore, place, 1, GenerationMode.POSITIVE)
    assert {label for label, status in seen if status != 401} == {"GET /healthz", "GET /readyz", "GET /status"}
