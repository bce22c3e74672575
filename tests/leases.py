"""Who holds a launch, looked up in Redis."""

from typing import Any

from shared import known_agents
from shared.contract import CLAIMS, launch_streams
from shared.launches import EntryId, Lease
from shared.redis.connection import Redis


async def lease_of(redis: Redis, entry: EntryId) -> Lease | None:
    """The lease of this launch, or None when nobody has it."""
    for stream in launch_streams(await known_agents.read(redis)):
        found: Any = await redis.xpending_range(stream, CLAIMS, entry, entry, 1)
        for row in found:
            return Lease(EntryId(row["message_id"]), row["consumer"], row["time_since_delivered"])
    return None
