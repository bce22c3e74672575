"""Gateway, operator and runner together, as their users see them."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

from shared.contract import LAUNCH, Running
from shared.launches import Launches
from tests.conftest import StartFleet
from tests.launching import SCRIPTED, records


async def test_two_hundred_joins_enter_two_hundred_bots_once_each_and_leave_nothing(
    fleet_of: StartFleet, record: Path
) -> None:
    async with fleet_of(bot=SCRIPTED, slots=4, operator=False, BOT_RECORD=str(record)) as fleet:
        rooms = [f"https://test.daily.co/room-{number}" for number in range(200)]
        joined = await asyncio.gather(*(fleet.join(wait_s=60, transport="none", room_url=room) for room in rooms))
        for answer in joined:
            await fleet.until_status(answer["session_id"], "ended")
        entered = Counter(line.session_id for line in records(record) if line.what == "entered")
        assert entered == {answer["session_id"]: 1 for answer in joined}
        assert await fleet.redis.xlen(LAUNCH) == 0
        assert await Launches(fleet.redis).depth() == 0
        assert not [key for key in await fleet.redis.keys("*") if "room:" in key or "commands:" in key]
        await fleet.until_free(4)


async def test_fifty_joins_for_one_room_at_once_are_one_session_with_one_bot(
    fleet_of: StartFleet, record: Path
) -> None:
    spellings = ["https://TEST.daily.co/one", "https://test.daily.co/one/", "https://test.daily.co:443/one?t=1"]
    async with fleet_of(bot=SCRIPTED, slots=2, operator=False, BOT_RECORD=str(record)) as fleet:
        joined = await asyncio.gather(*(fleet.join(room_url=spellings[n % 3], body={"do": "stay"}) for n in range(50)))
        assert len({answer["session_id"] for answer in joined}) == 1
        assert Counter(answer["reused"] for answer in joined) == {True: 49, False: 1}
        await fleet.until_status(joined[0]["session_id"], "running")
        assert len(records(record)) == 1


async def test_a_killed_bot_is_replaced_and_the_timeline_says_why(fleet_of: StartFleet, record: Path) -> None:
    async with fleet_of(bot=SCRIPTED, slots=2, operator=False, BOT_RECORD=str(record)) as fleet:
        joined = await fleet.join(wait_s=20, transport="none", body={"do": "stay"})
        assert joined["status"] == "running"
        os.kill(records(record)[0].pid, signal.SIGKILL)
        await fleet.event(joined["session_id"], Running, attempt=2)
        session = await fleet.session(joined["session_id"])
    assert (session["status"], session["attempt"]) == ("running", 2)
    kinds = [(event["type"], event["attempt"], event.get("reason")) for event in session["timeline"]]
    assert kinds == [
        ("queued", 1, None),
        ("starting", 1, None),
        ("running", 1, None),
        ("queued", 2, "bot_died"),
        ("starting", 2, None),
        ("running", 2, None),
    ]


async def test_a_bot_that_ignores_cancellation_has_left_within_the_grace(fleet_of: StartFleet, record: Path) -> None:
    async with fleet_of(bot=SCRIPTED, slots=1, operator=False, BOT_RECORD=str(record), STOP_GRACE="1") as fleet:
        joined = await fleet.join(wait_s=20, transport="none", body={"do": "block"})
        assert (await fleet.http.delete(f"/sessions/{joined['session_id']}")).status_code == 202
        session = await fleet.until_status(joined["session_id"], "ended")
        assert session["reason"] == "left"
        await fleet.until_free(1)


async def test_a_failed_bot_says_type_message_and_place(fleet_of: StartFleet, record: Path) -> None:
    async with fleet_of(bot=SCRIPTED, slots=1, operator=False, BOT_RECORD=str(record)) as fleet:
        joined = await fleet.join(wait_s=20, transport="none", body={"do": "raise", "what": "you"})
        session = await fleet.session(joined["session_id"])
    assert (joined["status"], session["reason"]) == ("failed", "bot_error")
    assert session["message"].startswith("LookupError: no room for you (scripted.py:")


async def test_a_daily_room_that_cannot_be_joined_never_counts_as_running(fleet_of: StartFleet) -> None:
    env = {"JOIN_TIMEOUT": "1", "MAX_ATTEMPTS": "2", "STOP_GRACE": "0.5"}
    async with fleet_of(bot="services.runner.bots.assistant", slots=1, operator=False, **env) as fleet:
        joined = await fleet.join(wait_s=40, room_url="https://pipefleet-test.daily.co/nowhere")
        session = await fleet.session(joined["session_id"])
    assert session["status"] == "failed"
    assert session["reason"] in {"join_timeout", "join_failed"}
    assert [event["type"] for event in session["timeline"] if event["type"] == "running"] == []
    assert session["attempt"] == 2


async def test_a_launch_that_no_standby_runner_takes_is_served_by_a_cold_one(
    fleet_of: StartFleet, record: Path
) -> None:
    async with fleet_of(bot=SCRIPTED, slots=1, BOT_RECORD=str(record)) as fleet:
        staying = await fleet.join(wait_s=20, transport="none", body={"do": "stay"})
        over = await fleet.join(wait_s=50, transport="none", body={"do": "stay"})
        assert (staying["status"], over["status"]) == ("running", "running")
        session = await fleet.session(over["session_id"])
        assert session["start"] == "cold"
        assert "cold_start" in [event["type"] for event in session["timeline"]]
        await fleet.until_counted(slots=2, running=2)
        assert (await fleet.http.post("/leave", json={"session_id": over["session_id"]})).status_code == 202
        await fleet.until_status(over["session_id"], "ended")


async def test_a_launch_that_waits_can_be_withdrawn(fleet_of: StartFleet, record: Path) -> None:
    async with fleet_of(bot=SCRIPTED, slots=1, operator=False, BOT_RECORD=str(record)) as fleet:
        await fleet.join(wait_s=20, transport="none", body={"do": "stay"})
        waiting = await fleet.join(transport="none", body={"do": "stay"})
        assert (waiting["status"], waiting["queue_depth"]) == ("queued", 1)
        assert (await fleet.http.delete(f"/sessions/{waiting['session_id']}")).status_code == 202
        session = await fleet.session(waiting["session_id"])
        assert (session["status"], session["reason"], session["runner"]) == ("ended", "left", None)
        assert len([line for line in records(record) if line.what == "entered"]) == 1
