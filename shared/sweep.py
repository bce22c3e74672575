"""Launches that nobody sees to any more.

Four broken states, each found and mended by any number of sweepers side by side, without harm done twice:

- *A lease that went stale.* Its runner was killed with its host, cut off, or frozen; no process of it could hand the
  session back. The launch becomes the next attempt, or a dead letter. Mended one lease and one sweep later.
- *A launch past its deadline.* No runner took it in time. The session fails. Mended within one sweep.
- *An entry whose id is ahead of the clock.* Somebody wrote it by hand, and nothing could be added after it. It is taken
  out; a launch stays as a dead letter. Mended within one sweep, or by the first script in whose way it is.
- *A consumer that is gone.* Every process has a name of its own, so their number would grow. Dropped after a while.

Absence of evidence mends nothing: while Redis was away nobody could renew. So no lease counts as stale before this very
sweeper has seen the same server answer for one whole lease without a break. It tells a lease's age by a clock that can
be set: when it is, all leases look older at once, and that is a break, too. So do launches that wait: where the clock
was set forward, they have their whole time from then on.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from shared import known_agents
from shared.contract import (
    CLAIMS,
    DEAD_WEBHOOKS,
    FIELD,
    OVERFLOW,
    ROOMS,
    RUNNERS,
    Failed,
    Failure,
    Launch,
    Reason,
    launch_stream,
    launch_streams,
)
from shared.errors import BadEntry, Unavailable
from shared.launches import Claim, EntryId, Launches, Lease, after, decode
from shared.presence import about_how_many
from shared.process.logs import whose
from shared.process.process_name import began_at, host_of
from shared.redis.connection import Redis, translated
from shared.redis.entries import milliseconds
from shared.redis.streams import Fields, between, ensure_group
from shared.script import Script, set_back

log = structlog.get_logger()

MOST = 1000
"""How many stale leases, and waiting launches, one sweep looks at."""
CONSUMER_GONE_S = 120.0
"""A consumer calls every few seconds while it lives, so one that has not for so long does not."""
DROP_CONSUMERS_EVERY_S = 30.0
SET_BACK = (RUNNERS, ROOMS, DEAD_WEBHOOKS)
"""What has no id ahead of the clock for long, besides the feeds and the streams with launches."""
CLOCK_SET_S = 1.0
"""A clock that goes forward by more at once has been set."""
TOGETHER = 4
"""As often as so many runners alone would, a whole fleet of runners sweeps."""


@dataclass(frozen=True)
class Uninterrupted:
    """Since when one server has answered without a break: its run id, and times of the monotonic clock.

    `ahead_s` is by how much the server's own clock was ahead of that when it answered last: at least, and at most, for
    nobody knows when on the way of its answer it looked.
    """

    run_id: str = ""
    since: float = 0.0
    last: float = 0.0
    ahead_s: tuple[float, float] = (0.0, 0.0)

    def seen(self, run_id: str, now: float, ahead_s: tuple[float, float], *, lease_s: float) -> "Uninterrupted":
        """The server of this run id has answered, and its clock was so far ahead."""
        step_s = max(ahead_s[0] - self.ahead_s[1], self.ahead_s[0] - ahead_s[1])
        # A bot has stopped a quarter of a lease before that is stale: a smaller step of the clock makes no other so.
        set_anew = step_s > lease_s / 4
        unbroken = run_id == self.run_id and now - self.last <= lease_s / 2 and not set_anew
        return Uninterrupted(run_id, self.since if unbroken else now, now, ahead_s)

    def set_forward(self, ahead_s: tuple[float, float]) -> bool:
        """Whether a server with this clock has set it forward since the last answer."""
        return bool(self.run_id) and ahead_s[0] - self.ahead_s[1] > CLOCK_SET_S

    def long_enough(self, lease_s: float) -> bool:
        """Whether every living runner must have been able to renew its leases meanwhile."""
        return bool(self.run_id) and self.last - self.since >= lease_s


@dataclass(frozen=True)
class Gone:
    """What ended the processes of a host: all of them, or with `before` those that began before that time.

    The time is of that host's own clock, in whole seconds, rounded down, as the names of processes have it.
    """

    why: str
    before: float | None = None

    def includes(self, process: str) -> bool:
        """Whether a process of that host is certainly gone. Of one whose name tells no beginning it is not known."""
        if self.before is None:
            return True
        began = began_at(process)
        return began is not None and began < self.before


def takes_turn(runners: int, chance: float) -> bool:
    """Whether one of so many sweeps this time; `chance` is between 0 and 1, and everyone's own."""
    return chance * runners < TOGETHER


def past_deadline(entry: EntryId, launch: Launch, server_ms: int, clock_set_ms: float = 0.0) -> bool:
    """Whether a waiting launch has waited for too long, by a clock that was set forward to `clock_set_ms`."""
    return server_ms - max(milliseconds(entry), clock_set_ms) >= launch.deadline_s * 1000


class Sweep:
    """One sweeper. The server looks through the whole lease table for it: tests/bench/bench_sweep.py has the cost."""

    def __init__(self, redis: Redis, *, lease_s: float, max_attempts: int) -> None:
        self._redis = redis
        self._launches = Launches(redis)
        self._overdue = Script(redis, "overdue")
        self._drop_consumers = Script(redis, "drop_consumers")
        self._lease_s = lease_s
        self._max_attempts = max_attempts
        self._uninterrupted = Uninterrupted()
        self._clock_set_ms = 0.0
        """What the server's clock showed when it was seen to be set forward."""
        self._drop_at = 0.0
        self.rounds: Counter[str] = Counter(done=0, unavailable=0, broken=0)
        """How many sweeps there were, by how they went."""
        self.repairs: Counter[str] = Counter(lease_freed=0, past_deadline=0)
        """How often this sweeper, and no other, has mended something."""

    async def run(self, every_s: float, *, in_turn: bool = False) -> None:
        """Sweep until cancelled; `in_turn` with all runners, so that the more there are, the less often this one does.

        A whole lease table is looked through each time, which a thousand runners must not ask for every few seconds.
        """
        while True:
            try:
                if not in_turn or takes_turn(await self._how_many_runners(), random.random()):  # noqa: S311
                    await self.sweep(time.monotonic())
                    self.rounds["done"] += 1
                else:
                    # Without it no lease would count as stale when the turn comes.
                    asked_at = time.monotonic()
                    run_id, server_ms = await self._server()
                    self._saw(run_id, server_ms, asked_at, time.monotonic())
            except Unavailable:
                self.rounds["unavailable"] += 1
                self._uninterrupted = Uninterrupted()
            except Exception:
                self.rounds["broken"] += 1
                log.exception("sweep_failed")
            await asyncio.sleep(every_s)

    async def sweep(self, now: float) -> None:
        """Mend what there is to mend at `now`, a time of the monotonic clock.

        Raises:
            Unavailable: Redis does not answer.
        """
        asked_at = time.monotonic()
        run_id, _ = await self._server()
        # Also those that nobody serves any more: what waits for them, or was left by their runners, has an end too.
        streams = launch_streams(await known_agents.read(self._redis))
        await set_back(self._redis, [*SET_BACK, *streams])
        found = [(stream, await self._look(stream)) for stream in streams]
        # A server that was paused answers in the end, and nobody has renewed meanwhile: that is a break, too.
        self._saw(run_id, found[-1][1][2], asked_at, now + time.monotonic() - asked_at)
        if self._uninterrupted.long_enough(self._lease_s):
            for stream, (stale, _, _) in found:
                for entry, holder, age_ms, json in stale:
                    message = f"its runner {holder} did not renew the lease for {age_ms / 1000:.1f} s"
                    await self._free(stream, Lease(EntryId(entry), holder, age_ms), {FIELD: json}, message)
        for stream, (_, waiting, server_ms) in found:
            for entry, json in waiting:
                await self._fail_if_late(stream, EntryId(entry), {FIELD: json}, server_ms)
        if now >= self._drop_at:
            self._drop_at = now + DROP_CONSUMERS_EVERY_S
            for stream in streams:
                await self._drop_gone_consumers(stream)

    async def release(self, hosts: Mapping[str, Gone]) -> None:
        """Free the leases of the runners on these hosts that are gone, whatever their age.

        It is for the caller to know that no process of theirs is left.

        Raises:
            Unavailable: Redis does not answer.
        """
        for stream in launch_streams(await known_agents.read(self._redis)):
            await ensure_group(self._redis, stream, CLAIMS)
            with translated():
                consumers: Any = await self._redis.xinfo_consumers(stream, CLAIMS)
            for consumer in consumers:
                gone = hosts.get(host_of(consumer["name"]))
                if consumer["pending"] and gone and gone.includes(consumer["name"]):
                    await self._release(stream, consumer["name"], gone.why)

    async def _how_many_runners(self) -> int:
        """About how many there are."""
        most = await about_how_many(self._redis)
        return most if most <= TOGETHER else min(most, await self._consumers())

    async def _consumers(self) -> int:
        """How many call for launches, or did a while ago: runners that have just died all at once are among them."""
        known = await known_agents.read(self._redis)
        async with self._redis.pipeline(transaction=False) as pipe:
            for agent in known:
                pipe.xinfo_groups(launch_stream(agent, 1))
            with translated():
                answers = await pipe.execute(raise_on_error=False)
        found = [group for groups in answers if isinstance(groups, list) for group in groups]
        return max((int(group["consumers"]) for group in found if group["name"] == CLAIMS), default=0)

    async def _server(self) -> tuple[str, float]:
        """Which one it is, and what time it has, in ms."""
        with translated():
            about = await self._redis.info("server")
        return str(about["run_id"]), int(about["server_time_usec"]) / 1000

    def _saw(self, run_id: str, server_ms: float, asked_at: float, at: float) -> None:
        ahead_s = (server_ms / 1000 - time.monotonic(), server_ms / 1000 - asked_at)
        if self._uninterrupted.set_forward(ahead_s):
            self._clock_set_ms = server_ms
        self._uninterrupted = self._uninterrupted.seen(run_id, at, ahead_s, lease_s=self._lease_s)

    async def _release(self, stream: str, holder: str, why: str) -> None:
        with translated():
            held: Any = await self._redis.xpending_range(stream, CLAIMS, "-", "+", MOST, holder)
        for row in held:
            entry = EntryId(row["message_id"])
            fields = dict(await between(self._redis, stream, entry, entry)).get(entry, {})
            lease = Lease(entry, holder, row["time_since_delivered"])
            await self._free(stream, lease, fields, f"its runner {holder} is gone: {why}")

    async def _look(self, stream: str) -> Any:
        await ensure_group(self._redis, stream, CLAIMS)
        return await self._overdue([stream], [CLAIMS, int(self._lease_s * 1000), MOST])

    async def _free(self, stream: str, lease: Lease, fields: Fields, message: str) -> None:
        """Put the next attempt in the place of a lease that is still this holder's, and at least as old."""
        try:
            launch = decode(fields, stream)
        except BadEntry:
            await self._launches.discard(lease.entry, lease.holder, fields, stream=stream)
            return
        failure = Failure(attempt=launch.attempt, reason=Reason.RUNNER_LOST, message=message)
        following = after(launch, failure, self._max_attempts)
        # At least as old as it was seen: whoever renewed it since keeps it.
        if await self._launches.settle(Claim(lease.entry, launch), lease.holder, following, age_ms=lease.age_ms):
            self.repairs["lease_freed"] += 1
            log.warning("lease_freed", **whose(launch), holder=lease.holder, why=message)

    async def _fail_if_late(self, stream: str, entry: EntryId, fields: Fields, server_ms: int) -> None:
        try:
            launch = decode(fields, stream)
        except BadEntry:
            return  # the runner that claims it drops it
        if not past_deadline(entry, launch, server_ms, self._clock_set_ms):
            return
        failed = Failed(
            session_id=launch.session_id,
            attempt=launch.attempt,
            reason=Reason.DEADLINE,
            message=f"no runner took the launch within {launch.deadline_s:g} s",
        )
        if await self._launches.settle(Claim(entry, launch), "", failed):
            self.repairs["past_deadline"] += 1
            log.warning("launch_past_deadline", **whose(launch))

    async def _drop_gone_consumers(self, stream: str) -> None:
        for group in (CLAIMS, OVERFLOW):
            await ensure_group(self._redis, stream, group)
            await self._drop_consumers([stream], [group, int(CONSUMER_GONE_S * 1000)])
