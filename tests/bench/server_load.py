"""What a Redis server does: CPU time, and how long each command and each script holds up all others."""

import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.redis.connection import Redis
from tests.script_calls import SCRIPTS

T = TypeVar("T")

REMEMBERED = 200_000
MOST = 8
"""So many commands are told of."""


@dataclass(frozen=True)
class Load:
    """Of some time."""

    for_s: float
    cpu_s: float
    calls: Mapping[str, float]
    """By command: how many."""
    took_us: Mapping[str, float]
    """By command: all of them."""
    both_ways: int
    """Bytes."""

    @property
    def cores(self) -> float:
        """Of one core, all in all."""
        return self.cpu_s / self.for_s

    @property
    def bytes_per_s(self) -> float:
        """Both ways."""
        return self.both_ways / self.for_s

    def __add__(self, other: "Load") -> "Load":
        return Load(
            for_s=self.for_s + other.for_s,
            cpu_s=self.cpu_s + other.cpu_s,
            calls=Counter(self.calls) + Counter(other.calls),
            took_us=Counter(self.took_us) + Counter(other.took_us),
            both_ways=self.both_ways + other.both_ways,
        )

    def told(self) -> str:
        """The commands that took most, in one line."""
        rows = sorted(self.took_us.items(), key=lambda row: -row[1])[:MOST]
        return ", ".join(
            f"{name} {self.calls[name] / self.for_s:.0f}/s {took_us / 1e6 / self.for_s:.1%}" for name, took_us in rows
        )


@dataclass(frozen=True)
class Each:
    """What each of so many things took that went on meanwhile, beyond what there is at rest; in µs of processor."""

    all_in_all: float
    commands: Mapping[str, float]

    def told(self) -> str:
        """With the commands that took most, in one line."""
        rows = sorted(self.commands.items(), key=lambda row: -row[1])[:MOST]
        beside = self.all_in_all - sum(self.commands.values())
        parts = [*(f"{name} {took_us:.0f}" for name, took_us in rows), f"and {beside:.0f} beside commands"]
        return f"{self.all_in_all:.0f} µs: {', '.join(parts)}"


def each(work: Load, rest: Load, count: int) -> Each:
    """Of `count` things."""
    as_long = work.for_s / rest.for_s
    commands = {
        name: (took_us - rest.took_us.get(name, 0.0) * as_long) / count for name, took_us in work.took_us.items()
    }
    return Each((work.cpu_s - rest.cpu_s * as_long) / count * 1e6, commands)


async def during(redis: Redis, work: Callable[[], Awaitable[T]]) -> tuple[Load, T]:
    """What the server did while this went on, and what came of it."""
    await redis.config_resetstat()
    before, began = await redis.info("cpu"), time.monotonic()
    found = await work()
    took_s = time.monotonic() - began
    after, commands, stats = await redis.info("cpu"), await redis.info("commandstats"), await redis.info("stats")
    rows = {name.removeprefix("cmdstat_"): row for name, row in commands.items()}
    load = Load(
        for_s=took_s,
        cpu_s=sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys")),
        calls={name: row["calls"] for name, row in rows.items()},
        took_us={name: row["usec"] for name, row in rows.items()},
        both_ways=stats["total_net_input_bytes"] + stats["total_net_output_bytes"],
    )
    return load, found


async def each_call_us(redis: Redis, work: Callable[[], Awaitable[object]]) -> dict[str, list[int]]:
    """How long each call took that came meanwhile, by script or command, sorted. The log itself costs a little."""
    await redis.config_set("slowlog-max-len", REMEMBERED)
    await redis.config_set("slowlog-log-slower-than", 0)
    await redis.slowlog_reset()
    await work()
    await redis.config_set("slowlog-log-slower-than", -1)
    found: Any = await redis.slowlog_get(REMEMBERED)
    await redis.slowlog_reset()
    calls: dict[str, list[int]] = defaultdict(list)
    for row in found:
        words = row["command"].split(b" ") if isinstance(row["command"], bytes) else row["command"].encode().split()
        name = words[0].decode().lower()
        calls[SCRIPTS.get(words[1].decode(), "script") if name == "evalsha" else name].append(row["duration"])
    return {name: sorted(took) for name, took in calls.items()}
