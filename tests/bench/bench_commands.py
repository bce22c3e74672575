"""From the request of a command to the bot's pipeline, beside a list that the bot polls; and what commands cost."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from shared.commands import Commands, Letter
from shared.contract import CLAIMS, LAUNCH, UNDONE_COMMANDS, Ended, Reason, Say
from shared.inbox import Inbox
from shared.launches import EntryId, Launches
from shared.redis.connection import Redis
from shared.redis.streams import read_group
from tests.bench.bench_sweep import server_ms
from tests.bench.conftest import Scale
from tests.conftest import StartFleet
from tests.launching import SCRIPTED, offer
from tests.waiting import until

TIMED = SCRIPTED.parent / "timed.py"
TIMES = 100
POLL_EVERY_S = 0.5
SESSIONS = 100
UNDER = "Commands:"

Tell = Callable[[str, str], None]


async def test_a_command_reaches_the_bot_many_times_faster_than_by_a_polled_list(
    fleet_of: StartFleet, tmp_path: Path, tell: Tell, scale: Scale
) -> None:
    """The list gets its entries directly, without the HTTP that ours come through: its figures are flattered."""
    record = tmp_path / "record"
    async with fleet_of(bot=TIMED, slots=1, operator=False, BOT_RECORD=str(record)) as fleet:
        session_id = (await fleet.join(wait_s=20, transport="none", body={}))["session_id"]
        redis: Any = fleet.redis

        async def by_command(text: str) -> None:
            body = {"session_id": session_id, "type": "say", "text": text}
            assert (await fleet.http.post("/admin", json=body)).status_code == 202

        async def by_list(text: str) -> None:
            await redis.rpush(f"list:{session_id}", text)

        took: dict[str, list[float]] = {"command": [], "list": []}
        for number in range(scale.of(TIMES, 2)):
            for name, send in (("command", by_command), ("list", by_list)):
                # At any moment of the list's half second.
                await asyncio.sleep(random.uniform(0, POLL_EVERY_S))  # noqa: S311
                sent_at = time.monotonic()
                await send(f"{name}-{number}")
                arrived = await until(lambda text=f"{name}-{number}": arrivals(record).get(text))  # type: ignore[misc]
                took[name].append(arrived - sent_at)
        assert (await fleet.http.delete(f"/sessions/{session_id}")).status_code == 202
    ours, theirs = (percentiles(took[name]) for name in ("command", "list"))
    tell(f"request to pipeline: p50 {ours[0]:.1f} ms, p99 {ours[1]:.1f} ms", UNDER)
    tell(f"list polled each 0.5 s: p50 {theirs[0]:.1f} ms, p99 {theirs[1]:.1f} ms", UNDER)
    tell(f"ratio: p50 x {theirs[0] / ours[0]:.0f}, p99 x {theirs[1] / ours[1]:.0f}", UNDER)
    assert theirs[0] > 5 * ours[0] or not scale.full


def arrivals(record: Path) -> dict[str, float]:
    lines = record.read_text().splitlines() if record.exists() else []
    return {text: float(at) for text, at in (line.split() for line in lines)}


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    return statistics.median(seconds) * 1000, statistics.quantiles(seconds, n=100)[98] * 1000


async def test_taking_back_what_others_were_given_costs_a_renewal_little(any_redis: Redis, tell: Tell) -> None:
    launches = [await offer(any_redis) for _ in range(SESSIONS)]
    ids = [launch.session_id for launch in launches]
    async with aclosing(Inbox(any_redis, "runner")) as inbox:
        for launch in launches:
            await inbox.open(launch.session_id)
        nothing, whole = await server_ms(any_redis, lambda: inbox.take_back(ids))
    tell(f"taking back, {SESSIONS} sessions: {nothing:.3f} ms on the server, {whole:.3f} ms in all", UNDER)
    assert nothing < 5.0


async def test_the_end_of_a_session_with_a_thousand_undone_commands_holds_up_nobody_for_long(
    any_redis: Redis, tell: Tell
) -> None:
    launch = await offer(any_redis)
    say = [Say(command_id=str(number), text="x" * 300, reply_to="g") for number in range(UNDONE_COMMANDS)]
    await Commands(any_redis).send_all([Letter(launch.session_id, launch.room_url, one) for one in say])
    [(_, [(entry, _)])] = await read_group(any_redis, CLAIMS, "runner", {LAUNCH: ">"}, count=1)
    started = time.perf_counter()
    ended = Ended(session_id=launch.session_id, attempt=1, reason=Reason.LEFT)
    assert await Launches(any_redis).finish(EntryId(entry), "runner", launch, ended) == "finished"
    took_ms = (time.perf_counter() - started) * 1000
    tell(f"the end of a session with {UNDONE_COMMANDS} undone commands: {took_ms:.1f} ms", UNDER)
    assert took_ms < 500
