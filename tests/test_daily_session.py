"""Sessions in Daily rooms from the request to the bot's arguments. Daily's API is played by a local server."""

import json
from pathlib import Path
from typing import Any

from services.runner.daily_room import seat
from shared.contract import ROOMS, Running
from tests.conftest import StartFleet
from tests.fakes.daily_api import KEY, fake_daily
from tests.processes import ROOT

INVITED = ROOT / "tests" / "bots" / "invited.py"


def invitation(record: Path) -> dict[str, Any]:
    (line,) = record.read_text().splitlines()
    told: dict[str, Any] = json.loads(line)
    return told


async def test_a_bot_enters_the_room_that_was_made_for_it_as_its_owner_and_the_room_goes_with_the_session(
    fleet_of: StartFleet, record: Path
) -> None:
    """The bot's token is not the client's, and another gateway than the one that made the room removes it."""
    async with fake_daily() as daily:
        env = {"DAILY_API_KEY": KEY, "DAILY_API_URL": daily.url, "BOT_RECORD": str(record)}
        async with fleet_of(bot=INVITED, slots=1, operator=False, **env) as fleet:
            wish = {"createDailyRoom": True, "body": {"language": "en"}}
            started = (await fleet.http.post("/start", json=wish)).json()
            session_id = started["sessionId"]
            await fleet.event(session_id, Running)
            told = invitation(record)
            ((name, _),) = daily.rooms.items()
            assert (told["kind"], told["room_url"]) == ("DailyRunnerArguments", started["dailyRoom"])
            assert (told["body"]["language"], told["session_id"]) == ("en", session_id)
            assert (started["dailyToken"], told["token"]) == ("token-1", "token-2")
            client, bot = daily.tokens
            assert client["room_name"] == bot["room_name"] == name
            assert (client.get("is_owner"), bot["is_owner"]) == (None, True)
            assert bot["user_id"] == seat(session_id, 1)

            fleet.gateway.kill()
            await fleet.gateway.wait()
            fleet.gateway = fleet.start("gateway")
            await fleet.until_counted(busy=1)
            await fleet.http.delete(f"/sessions/{session_id}")
            await daily.until_empty()
            await fleet.until_free(1)
            logs = [child.output() for child in (fleet.gateway, *fleet.runners)]
        assert not [log for log in logs if "token-" in log or KEY in log]


async def test_a_room_of_ones_own_in_the_body_is_the_bots_room_with_its_token(
    fleet_of: StartFleet, record: Path
) -> None:
    """Pipecat Cloud would give the bot plain arguments, and leave it to look into the body."""
    body = {"room_url": "https://example.daily.co/mine", "token": "of-mine"}
    async with fleet_of(bot=INVITED, slots=1, operator=False, BOT_RECORD=str(record)) as fleet:
        started = await fleet.http.post("/v1/public/any/start", json={"transport": "daily", "body": body})
        await fleet.event(started.json()["sessionId"], Running)
        told = invitation(record)
        assert (told["kind"], told["room_url"], told["token"]) == ("DailyRunnerArguments", *body.values())
        assert await fleet.redis.exists(ROOMS) == 0
