"""What a Redis server does: CPU time, and how long each command and each script holds up all others."""

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.redis.connection import Redis
from tests.script_calls import SCRIPTS

REMEMBERED = 200_000


@dataclass(frozen=True)
class Load:
    """Of some time."""

    for_s: float
    cpu_s: float
    calls: Mapping[str, float]
    """By command, in a second."""
    share: Mapping[str, float]
    """By command: of one core."""
    bytes_per_s: float
    """Both ways."""

    @property
    def cores(self) -> float:
        """Of one core, all in all."""
        return self.cpu_s / self.for_s

    def told(self, most: int = 8) -> str:
        """The commands that took most, in one line."""
        rows = sorted(self.share.items(), key=lambda row: -row[1])[:most]
        return ", ".join(f"{name} {self.calls[name]:.0f}/s {share:.1%}" for name, share in rows)


async def during(redis: Redis, work: Callable[[], Awaitable[object]]) -> Load:
    """What the server did while this went on."""
    await redis.config_resetstat()
    before, began = await redis.info("cpu"), time.monotonic()
    await work()
    took = time.monotonic() - began
    after, commands, stats = await redis.info("cpu"), await redis.info("commandstats"), await redis.info("stats")
    rows = {name.removeprefix("cmdstat_"): row for name, row in commands.items()}
    return Load(
        for_s=took,
        cpu_s=sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys")),
        calls={name: row["calls"] / took for name, row in rows.items()},
        share={name: row["usec"] / 1e6 / took for name, row in rows.items()},
        bytes_per_s=(stats["total_net_input_bytes"] + stats["total_net_output_bytes"]) / took,
    )


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
