"""Commands while runners and bots are killed: their senders know what became of each, and no bot sees them mixed up."""

import asyncio
import json
import os
import random
import signal
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.runner.forking.process_names import SESSION_PROCESS
from shared import events
from shared.contract import CommandDone, Outcome, Queued, commands_key
from tests.conftest import StartFleet
from tests.launching import SCRIPTED
from tests.processes import Fleet, children_called
from tests.waiting import until

COMMANDED = SCRIPTED.parent / "commanded.py"


@dataclass
class Senders:
    """One for each session, who sends one command after the other."""

    fleet: Fleet
    accepted: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Of each session, the ids of its commands, in order."""
    late: set[str] = field(default_factory=set)
    """Of these, the ids of those that came when their bot had been told to leave."""
    sent: int = 0

    async def send(self, session_id: str, number: int) -> None:
        """Send so many, each once it is clear what became of the request for the one before it."""
        for count in range(number):
            body = {"session_id": session_id, "type": "custom", "data": count}
            answer = await self.fleet.http.post("/admin", json=body)
            assert answer.status_code == 202, answer.text
            self.accepted[session_id].append(answer.json()["id"])
            self.sent += 1


async def kill_while(senders: Senders, fleet: Fleet, kills: int, commands: int, chance: random.Random) -> None:
    """Spread so many kills over the sending: of bots, and of supervisors, whose place a new runner takes."""
    for number in range(kills):
        threshold = (number + 1) * commands // (kills + 1)
        await until(lambda at=threshold: senders.sent >= at, 60)  # type: ignore[misc]
        runner = chance.choice(fleet.runners)
        if number % 3 == 2:
            fleet.runners.remove(runner)
            runner.kill()
            fleet.add_runner()
        else:
            bots = children_called(SESSION_PROCESS, runner.pid)
            for pid in chance.sample(bots, min(2, len(bots))):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("sessions", "commands", "kills"),
    [(4, 100, 4), pytest.param(20, 1000, 18, marks=[pytest.mark.slow, pytest.mark.timeout(300)])],
)
async def test_every_command_has_one_fate_and_each_bot_gets_its_commands_in_order(
    fleet_of: StartFleet, tmp_path: Path, tell: Callable[[str, str], None], sessions: int, commands: int, kills: int
) -> None:
    record = tmp_path / "record"
    chance = random.Random(7)  # noqa: S311 - the same kills each time
    async with fleet_of(
        bot=COMMANDED, runners=2, slots=sessions, BOT_RECORD=str(record), LEASE="3", MAX_ATTEMPTS="1000", COLD_MAX="0"
    ) as fleet:
        joined = [await fleet.join(transport="none", body={}) for _ in range(sessions)]
        ids = [one["session_id"] for one in joined]
        senders = Senders(fleet)
        async with asyncio.TaskGroup() as group:
            for session_id in ids:
                group.create_task(senders.send(session_id, commands // sessions))
            group.create_task(kill_while(senders, fleet, kills, commands, chance))

        async def all_done() -> bool:
            return not sum([await fleet.redis.xlen(commands_key(session_id)) for session_id in ids])

        await until(all_done, 90)
        for session_id in ids[:2]:
            await leave_and_send(senders, session_id)
        histories = await events.histories(fleet.redis, ids)
    delivered = check_fates(senders, ids, histories)
    given = check_order(record, senders, delivered)
    attempts = sum(isinstance(event, Queued) for history in histories for _, event in history)
    again = given - len(delivered)
    told = f"{len(delivered)} delivered to {sessions} sessions in {attempts} attempts, {again} of them again"
    tell(told, "Commands while bots and runners are killed:")


async def leave_and_send(senders: Senders, session_id: str) -> None:
    """A command right behind a leave: too late for the bot, and either refused or accepted."""
    http = senders.fleet.http
    leave, late = ({"session_id": session_id, "type": kind} for kind in ("leave", "interrupt"))
    assert (await http.post("/admin", json=leave)).status_code == 202
    answer = await http.post("/admin", json=late)
    if answer.status_code == 202:
        senders.accepted[session_id].append(answer.json()["id"])
        senders.late.add(answer.json()["id"])
    await senders.fleet.until_status(session_id, "ended")


def check_fates(senders: Senders, ids: list[str], histories: list[events.History]) -> set[str]:
    """Each accepted command has exactly one; the ids of those that were delivered."""
    delivered: set[str] = set()
    for session_id, history in zip(ids, histories, strict=True):
        fates = [event for _, event in history if isinstance(event, CommandDone)]
        of_ours = {fate.command_id: fate for fate in fates if fate.command_id in senders.accepted[session_id]}
        assert [fate.command_id for fate in fates if fate.command_id in of_ours] == senders.accepted[session_id]
        assert all(fate.outcome is Outcome.DELIVERED or fate.reason for fate in fates if fate.kind != "leave")
        delivered |= {fate.command_id for fate in of_ours.values() if fate.outcome is Outcome.DELIVERED}
    all_ids = {id_ for accepted in senders.accepted.values() for id_ in accepted}
    assert all_ids - delivered == senders.late
    return delivered


def check_order(record: Path, senders: Senders, delivered: set[str]) -> int:
    """What is called delivered has reached a bot; each bot got its commands in order, and so did each session.

    Gives how many were given to bots, those that came twice counted twice.
    """
    by_session: dict[str, list[str]] = defaultdict(list)
    by_bot: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for line in record.read_text().splitlines():
        session_id, attempt, pid, command_id, _ = json.loads(line)
        if command_id in senders.accepted[session_id]:
            by_session[session_id].append(command_id)
            by_bot[session_id, attempt, pid].append(command_id)
    for session_id, accepted in senders.accepted.items():
        assert list(dict.fromkeys(by_session[session_id])) == [id_ for id_ in accepted if id_ in delivered]
    for (session_id, *_), got in by_bot.items():
        places = [senders.accepted[session_id].index(command_id) for command_id in got]
        assert places == sorted(set(places)), "twice to one bot, or out of order"
    return sum(map(len, by_bot.values()))
