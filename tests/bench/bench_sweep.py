"""What a sweep and a renewal cost the server, as the fleet grows: nobody else is served while a script runs."""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from shared.contract import CLAIMS, LAUNCH
from shared.launches import EntryId, Launches
from shared.redis.connection import Redis
from shared.redis.entries import encode
from shared.redis.streams import read_group
from shared.sweep import Sweep
from tests.bench.conftest import Scale
from tests.launching import a_launch, offer

FEW, MANY = 100, 10_000
SESSIONS_OF_A_RUNNER = 10
TIMES = 200
LEASE_S = 20.0
UNDER = "Script time on the server, by sessions that live:"


async def with_sessions(redis: Redis, number: int) -> list[EntryId]:
    """So many launches, each claimed by the runner that has ten of them."""
    await redis.flushall()
    launches = Launches(redis)
    await launches.ensure_group(CLAIMS)
    async with redis.pipeline(transaction=False) as pipe:
        for _ in range(number):
            pipe.xadd(LAUNCH, {"json": encode(a_launch(body={"greeting": "x" * 200}))})
        await pipe.execute()
    entries: list[EntryId] = []
    for runner in range(number // SESSIONS_OF_A_RUNNER):
        found = await read_group(redis, CLAIMS, holder(runner), {LAUNCH: ">"}, count=SESSIONS_OF_A_RUNNER)
        entries += [EntryId(entry) for _, given in found for entry, _ in given]
    assert len(entries) == number
    return entries


def holder(runner: int) -> str:
    return f"runner-{runner}"


async def server_ms(redis: Redis, call: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """The time of one call of a script: on the server, and for its caller."""
    await call()
    await redis.config_resetstat()
    took = []
    for _ in range(TIMES):
        started = time.perf_counter()
        await call()
        took.append((time.perf_counter() - started) * 1000)
    scripts = (await redis.info("commandstats"))["cmdstat_evalsha"]
    return scripts["usec"] / TIMES / 1000, statistics.median(took)


async def sweep(redis: Redis) -> tuple[float, float]:
    """One that finds nothing to mend, as nearly all do; consumers are looked after by the first alone."""
    sweeper, now = Sweep(redis, lease_s=LEASE_S, max_attempts=3), time.monotonic()
    return await server_ms(redis, lambda: sweeper.sweep(now))


async def renew(redis: Redis, entries: Sequence[EntryId]) -> tuple[float, float]:
    """All leases of one holder, who is made the holder of these first."""
    await redis.xclaim(LAUNCH, CLAIMS, "renewing", 0, list(entries), justid=True)
    launches = Launches(redis)
    assert await launches.renew("renewing", entries) == []
    return await server_ms(redis, lambda: launches.renew("renewing", entries))


async def test_an_offer_costs_the_same_however_many_sessions_and_runners_there_are(
    any_redis: Redis, tell: Callable[[str, str], None], scale: Scale
) -> None:
    """The number of launches that wait came with a list of all runners, a thousand of them."""
    took = []
    for number in (FEW, scale.of(MANY, 10 * FEW)):
        await with_sessions(any_redis, number)
        took.append((await server_ms(any_redis, lambda: offer(any_redis)))[0])
    tell(f"an offer: {took[0]:.3f} ms, with more sessions {took[1]:.3f} ms, x {took[1] / took[0]:.2f}", UNDER)
    assert took[1] < 2 * took[0] or not scale.full


async def test_a_sweep_of_ten_thousand_sessions_holds_the_server_up_for_less_than_a_few_milliseconds(
    any_redis: Redis, request: pytest.FixtureRequest, tell: Callable[[str, str], None], scale: Scale
) -> None:
    kind = request.node.callspec.params["any_server"]
    few, many = FEW, scale.of(MANY, 10 * FEW)
    took = {}
    for number in (few, many):
        entries = await with_sessions(any_redis, number)
        one_sweep = await sweep(any_redis)
        ten, hundred = await renew(any_redis, entries[:10]), await renew(any_redis, entries[-100:])
        took[number] = (one_sweep[0], ten[0], hundred[0])
        tell(
            f"{kind:<13} {number:>6} sessions: sweep {one_sweep[0]:.3f} ms (whole {one_sweep[1]:.3f}), "
            f"renewal of 10 leases {ten[0]:.3f} ms ({ten[1]:.3f}), of 100 {hundred[0]:.3f} ms ({hundred[1]:.3f})",
            UNDER,
        )
    ratios = [large / small for small, large in zip(took[few], took[many], strict=True)]
    tell(
        f"{kind:<13} {many} against {few} sessions: sweep x {ratios[0]:.1f}, renewal of 10 x {ratios[1]:.1f}, "
        f"of 100 x {ratios[2]:.1f}",
        UNDER,
    )
    assert took[many][0] < 10.0
    assert ratios[1] < 5.0 or not scale.full
