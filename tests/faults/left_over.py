"""What should not be there when no session lives, and what should be but is not."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from services.runner.forking.process_names import SESSION_PROCESS
from shared.presence import present
from shared.redis import streams
from shared.redis.connection import Redis, translated
from tests.processes import Child, children_called

LAUNCHES = ("{bot}:launch", "{bot}:relaunch")
KEPT_KEYS = (*LAUNCHES, "{bot}:events", "{bot}:activity", "{bot}:runners", "{bot}:session:", "{bot}:replies:")


async def in_redis(redis: Redis) -> list[str]:
    """Keys but histories, launches, leases, launches in an operator's hands."""
    with translated():
        keys: list[str] = sorted(await cast("Any", redis.keys("*")))
        found = [f"the key {key}" for key in keys if not key.startswith(KEPT_KEYS)]
        for stream in filter(lambda key: key in LAUNCHES, keys):
            found += [f"the launch {entry}" for entry, _ in await streams.between(redis, stream)]
            groups: list[Any] = await cast("Any", redis.xinfo_groups(stream))
            found += [f"{group['pending']} pending in {group['name']}" for group in groups if group["pending"]]
    return found


async def missing_slots(redis: Redis, runners: Iterable[Child], slots: int) -> list[str]:
    """Runners whose slots are not all there and free."""
    found = []
    there = {word.pid: word for word in await present(redis)}
    for runner in runners:
        processes = len(children_called(SESSION_PROCESS, runner.pid))
        if processes != slots:
            found.append(f"runner {runner.pid} has {processes} session processes for {slots} slots")
        word = there.get(runner.pid)
        if word is None or (word.free, word.busy, word.state) != (slots, 0, "ready"):
            found.append(f"runner {runner.pid} says {word}")
    return found


def children_of(parent: int) -> list[int]:
    """The living children of a process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, ppid, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            found += [int(entry.name)] if int(ppid) == parent and state != "Z" else []
    return sorted(found)


def command(pid: int) -> str:
    """Its command line and name."""
    with suppress(OSError):
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()}: {line}"
    return "gone meanwhile"
