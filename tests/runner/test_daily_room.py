"""A bot's own token, and the fence in the room itself. Daily's API is played by a local server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.transports.daily.transport import DailyParams, DailyTransport

from services.runner import bot_arguments
from services.runner.call.pipelines import Seen
from services.runner.daily_room import mint_token, replaces, seat
from services.runner.logs import bot_logs
from services.runner.settings import RunnerSettings
from shared.errors import RoomRefused
from tests.launching import a_launch

SESSION = "0b0e9f8a-5a34-4f0e-9a7b-1f3f9a2f6c11"
OTHER = "1b0e9f8a-5a34-4f0e-9a7b-1f3f9a2f6c11"


def test_a_seat_fits_into_what_daily_allows_for_any_session() -> None:
    assert len(seat(str(uuid4()), 999)) <= 36


@pytest.mark.parametrize(
    ("user_id", "later"),
    [
        (seat(SESSION, 3), True),
        (seat(SESSION, 2), False),
        (seat(SESSION, 1), False),
        (seat(OTHER, 3), False),
        ("somebody", False),
        ("", False),
    ],
)
def test_only_a_later_attempt_of_the_same_session_replaces_a_bot(user_id: str, later: bool) -> None:
    assert replaces(user_id, SESSION, 2) is later


class DailyApi:
    """Answers `POST /meeting-tokens` as Daily documents it, or with an error."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, dict[str, Any]]] = []
        self.status = 200
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.headers.get("Authorization"), await request.json()))
        if self.status != 200:
            return web.json_response({"error": "rate-limit-error"}, status=self.status)
        return web.json_response({"token": "minted"})


@pytest.fixture
async def daily() -> AsyncIterator[DailyApi]:
    api = DailyApi()
    application = web.Application()
    application.router.add_post("/v1/meeting-tokens", api.answer)
    server = web.AppRunner(application)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    api.url = f"http://127.0.0.1:{server.addresses[0][1]}/v1"
    yield api
    await server.cleanup()


async def test_a_minted_token_is_for_this_room_and_names_session_and_attempt(daily: DailyApi) -> None:
    settings = RunnerSettings(daily_api_key="key", daily_api_url=daily.url)
    launch = a_launch("https://example.daily.co/room", transport="daily", attempt=2)
    assert await mint_token(launch, settings) == "minted"
    ((authorization, asked),) = daily.asked
    assert authorization == "Bearer key"
    properties = asked["properties"]
    assert (properties["room_name"], properties["user_id"]) == ("room", seat(launch.session_id, 2))
    assert (properties["is_owner"], properties["eject_at_token_exp"]) == (False, True)


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_refusal_of_daily_is_told_with_its_status(daily: DailyApi, status: int) -> None:
    daily.status = status
    settings = RunnerSettings(daily_api_key="key", daily_api_url=daily.url)
    with pytest.raises(RoomRefused, match=str(status)):
        await mint_token(a_launch("https://example.daily.co/room", transport="daily"), settings)


async def test_in_a_room_that_was_made_for_its_session_a_bot_is_an_owner(
    daily: DailyApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot_logs, "_secrets", set())
    settings = RunnerSettings(daily_api_key="key", daily_api_url=daily.url)
    launch = a_launch("https://example.daily.co/room", transport="daily", owner=True)
    arguments = await bot_arguments.daily(launch, settings)
    assert (arguments.room_url, arguments.token) == ("https://example.daily.co/room", "minted")
    assert daily.asked[0][1]["properties"]["is_owner"] is True


async def test_without_a_key_no_bot_gets_into_a_room_that_was_made_for_its_session() -> None:
    launch = a_launch("https://example.daily.co/room", transport="daily", owner=True)
    with pytest.raises(RoomRefused, match="DAILY_API_KEY"):
        await bot_arguments.daily(launch, RunnerSettings())


@pytest.mark.parametrize(
    ("launched", "offered", "body"),
    [
        ({"a": 1}, None, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"b": 2}, {"b": 2}),
        (None, None, {}),
        (["a"], None, ["a"]),
    ],
)
def test_what_comes_with_the_offer_is_the_body_unless_it_is_nothing(launched: Any, offered: Any, body: Any) -> None:
    """As with Pipecat's own runner."""
    arguments = bot_arguments.webrtc(a_launch(transport="webrtc", body=launched), object(), offered)
    found = arguments.body
    if isinstance(found, dict):
        assert found.pop("pipefleet")["attempt"] == 1
    assert found == body


async def test_who_joins_the_room_of_a_pipeline_is_seen() -> None:
    transport = DailyTransport("https://example.daily.co/room", None, "bot", DailyParams())
    worker = PipelineWorker(Pipeline([transport.input(), transport.output()]))
    seen = Seen()
    seen.add_worker(worker)
    for user_id in (seat(SESSION, 3), None):
        participant = {"id": "p", "info": {"userId": user_id}}
        await transport._on_participant_joined(participant)  # type: ignore[no-untyped-call]
    assert await asyncio.wait_for(seen.daily_users.get(), 5) == seat(SESSION, 3)
    assert await asyncio.wait_for(seen.daily_users.get(), 5) == ""
