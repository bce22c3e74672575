"""A lease that ran out without anybody's waiting for it: the server is told its age, and the sweepers the time."""

import asyncio

from shared.contract import CLAIMS, launch_stream
from shared.launches import Claim
from shared.redis.connection import Redis
from shared.sweep import Sweep

LEASE_S = 60.0
A_LEASE = (100.0, 120.0, 140.0, 160.0, 180.0)
"""Times of sweeps, without a break between them however slow this machine is, after which leases may count as stale."""


async def grow_stale(redis: Redis, claim: Claim, holder: str) -> None:
    """As if the holder of a claim had not renewed it for two leases."""
    stream = launch_stream(claim.launch.agent, claim.launch.attempt)
    idle_ms = int(2 * LEASE_S * 1000)
    await redis.xclaim(stream, CLAIMS, holder, 0, [claim.entry], idle=idle_ms, justid=True)


async def sweep_for_a_lease(*sweeps: Sweep) -> None:
    """Sweep, all of them each time, until what is older than a lease counts as stale."""
    for now in A_LEASE:
        await asyncio.gather(*(sweep.sweep(now) for sweep in sweeps))
