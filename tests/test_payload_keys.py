"""A fleet with PAYLOAD_KEYS: what callers say to bots is not to be found in Redis, and nothing else changes."""

import os
import signal
from pathlib import Path
from typing import Any

from shared.contract import Ended, Failed, Reason, Running
from shared.launches import Launches
from shared.redis.connection import Redis
from shared.sealing import Seals
from tests.conftest import StartFleet
from tests.launching import SCRIPTED, a_launch, offer, records
from tests.shared.test_sealing import NEW, OLD

SECRETS = ("the-token", "the-patient", "the-words")


async def everything(redis: Redis) -> str:
    """All that is in Redis, as a backup has it."""
    keys: Any = await redis.keys()
    found = [await (redis.get(key) if ":room:" in key else redis.xrange(key)) for key in keys]
    return str(list(zip(keys, found, strict=True)))


async def test_a_session_goes_its_whole_way_and_redis_never_has_what_is_for_its_bot(
    fleet_of: StartFleet, record: Path
) -> None:
    env = {"BOT_RECORD": str(record), "PAYLOAD_KEYS": NEW, "MAX_ATTEMPTS": "2"}
    async with fleet_of(bot=SCRIPTED, slots=2, operator=False, **env) as fleet:
        body = {"do": "stay", "who": "the-patient"}
        joined = await fleet.join(wait_s=20, transport="none", token="the-token", body=body)
        session_id = joined["session_id"]
        sent = await fleet.http.post(
            "/admin", json={"session_id": session_id, "type": "custom", "data": "the-words", "wait": 10}
        )
        assert (sent.status_code, sent.json()["reason"]) == (200, "no_pipeline")
        seen = await everything(fleet.redis)

        os.kill(records(record)[0].pid, signal.SIGKILL)
        await fleet.event(session_id, Running, attempt=2)
        seen += await everything(fleet.redis)
        os.kill(records(record)[1].pid, signal.SIGKILL)
        await fleet.event(session_id, Failed, attempt=2)
        seen += await everything(fleet.redis)

        (letter,) = (await fleet.http.get("/dead")).json()["dead"]
        redriven = await fleet.http.post(f"/dead/{letter['id']}/redrive")
        assert redriven.status_code == 202
        await fleet.event(redriven.json()["session_id"], Running)
        seen += await everything(fleet.redis)
    # It stays, as its body says, in each attempt.
    assert [line.what for line in records(record)][:3] == ["entered"] * 3
    assert not [secret for secret in SECRETS if secret in seen]
    assert session_id in seen


async def test_a_launch_that_no_key_here_opens_fails_at_once_and_can_be_redriven_later(
    fleet_of: StartFleet, record: Path
) -> None:
    async with fleet_of(bot=SCRIPTED, slots=1, operator=False, BOT_RECORD=str(record), PAYLOAD_KEYS=OLD) as fleet:
        launch = a_launch(body={"do": "stay"})
        await Launches(fleet.redis, seals=Seals(NEW)).offer(launch, queue_limit=10)
        failed = await fleet.event(launch.session_id, Failed)
        assert (failed.reason, failed.attempt) == (Reason.UNREADABLE, 1)
        assert "which PAYLOAD_KEYS does not have" in failed.message
        (letter,) = (await fleet.http.get("/dead")).json()["dead"]
        refused = await fleet.http.post(f"/dead/{letter['id']}/redrive")
        assert (refused.status_code, "which PAYLOAD_KEYS does not have" in refused.json()["message"]) == (409, True)
        # The runner goes on, with what it can open and with what is plain.
        assert (await fleet.join(wait_s=20, transport="none"))["status"] in {"running", "ended"}
        plain = await offer(fleet.redis)
        await fleet.event(plain.session_id, Ended)


async def test_no_bot_gets_the_keys_with_its_environment(fleet_of: StartFleet, record: Path) -> None:
    async with fleet_of(bot=SCRIPTED, slots=1, operator=False, BOT_RECORD=str(record), PAYLOAD_KEYS=NEW) as fleet:
        await fleet.join(wait_s=20, transport="none", body={"do": "stay"})
        environment = Path(f"/proc/{records(record)[0].pid}/environ").read_bytes().split(b"\0")
        assert any(variable.startswith(b"BOT_RECORD=") for variable in environment)
        assert not [variable for variable in environment if variable.startswith(b"PAYLOAD_KEYS")]
