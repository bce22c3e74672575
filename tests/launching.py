"""Launches without a gateway, and what a scripted bot recorded of them."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.commands import Commands
from shared.contract import CLAIMS, LAUNCH, AnyCommand, Launch, Transport
from shared.launches import Claim, EntryId, Launches, decode
from shared.redis.connection import Redis
from shared.redis.streams import read_group

SCRIPTED = Path(__file__).parent / "bots" / "scripted.py"


def a_launch(room_url: str = "", *, transport: Transport = "none", body: Any = None, **more: Any) -> Launch:
    """A launch, for a room of its own unless one is named."""
    session_id = str(uuid.uuid4())
    return Launch(
        session_id=session_id,
        room_url=room_url or f"{transport}://{session_id}",
        transport=transport,
        body=body,
        **{"deadline_s": 60.0, "max_duration_s": 600.0, **more},
    )


async def offer(redis: Redis, **launch: Any) -> Launch:
    """A launch that is in the queue."""
    made = a_launch(**launch)
    offered = await Launches(redis).offer(made, queue_limit=100_000)
    assert offered.outcome == "queued"
    return made


async def claimed(redis: Redis, holder: str = "runner", **launch: Any) -> Claim:
    """A launch whose lease this holder has; it is the only one that waits."""
    made = await offer(redis, **launch)
    [(_, [(entry, fields)])] = await read_group(redis, CLAIMS, holder, {LAUNCH: ">"})
    assert decode(fields) == made
    return Claim(EntryId(entry), made)


async def send(redis: Redis, launch: Launch, command: AnyCommand) -> None:
    """Send a command to the launch's bot."""
    assert await Commands(redis).send(launch.session_id, launch.room_url, command) == "sent"


@dataclass(frozen=True)
class Record:
    """One line of what bots recorded."""

    what: str
    session_id: str
    attempt: int
    pid: int
    at: float
    more: str


def records(file: Path) -> list[Record]:
    """All that bots recorded so far, in order."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        what, session_id, attempt, pid, at, more = (*line.split(" ", 5), "")[:6]
        found.append(Record(what, session_id, int(attempt), int(pid), float(at), more.strip()))
    return found
