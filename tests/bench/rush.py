"""Joins that come fast to a large fleet: how many it answers, how many of them begin, and what they cost."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from shared.contract import LAUNCH
from shared.launches import Launches
from shared.redis.connection import Redis
from tests.bench import load, server_load
from tests.bench.load import Answers

CONNECTIONS = 64


@dataclass(frozen=True)
class Rush:
    """So many joins in a second, for a while."""

    per_s: float
    answers: Answers
    begun_per_s: float
    """Launches that runners took meanwhile."""
    cores: dict[str, float]
    """What each kind of process needed, the server among them."""

    def told(self) -> str:
        """In one line."""
        cores = ", ".join(f"{kind} {cores:.2f}" for kind, cores in self.cores.items())
        return (
            f"{self.per_s:.0f} joins/s wanted: {self.answers.per_s:.0f}/s answered, p50 {self.answers.p50_ms:.1f} ms, "
            f"p99 {self.answers.p99_ms:.1f} ms; {self.begun_per_s:.0f}/s begun; in cores: {cores}"
        )


async def rush(redis: Redis, url: str, per_s: float, for_s: float, cpu_s: Callable[[], dict[str, float]]) -> Rush:
    """Drive so many joins at the gateway of this address; `cpu_s` gives what processes have needed so far, by kind."""
    run = f"rush-{per_s:g}"
    driven = partial(load.drive, url, "/join", run, connections=CONNECTIONS, warm_up_s=0.0, for_s=for_s, per_s=per_s)
    taken, needed = await _taken(redis), cpu_s()
    server, answers = await server_load.during(redis, driven)
    cores = {kind: (now - needed[kind]) / server.for_s for kind, now in cpu_s().items()}
    begun = await _taken(redis) - taken
    assert not answers.refused
    return Rush(per_s, answers, begun / server.for_s, {"Redis": server.cores, **cores})


async def _taken(redis: Redis) -> int:
    """How many launches runners have taken since there is this stream."""
    return int((await redis.xinfo_stream(LAUNCH))["entries-added"]) - await Launches(redis).depth()
