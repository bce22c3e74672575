"""The stream commands as the services use them: text in, text out, and one error for a server that is away."""

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from redis.exceptions import ResponseError

from shared.redis.connection import Redis, translated

Fields: TypeAlias = dict[str, str]
Entries: TypeAlias = list[tuple[str, Fields]]


async def ensure_group(redis: Redis, stream: str, group: str, start: str = "0") -> None:
    """Create a stream and a group that reads it from its beginning or from `start`, if they are not there."""
    with translated():
        try:
            await redis.xgroup_create(stream, group, id=start, mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise


async def between(redis: Redis, stream: str, first: str = "-", last: str = "+", count: int | None = None) -> Entries:
    """The entries from `first` to `last`, both included, oldest first."""
    with translated():
        return cast("Entries", await redis.xrange(stream, first, last, count))


async def read(redis: Redis, stream: str, after: str, *, block_s: float) -> Entries:
    """The entries after the id `after`, waited for if there are none yet; empty when the time is up."""
    found = await read_each(redis, {stream: after}, block_s=block_s)
    return [entry for _, entries in found for entry in entries]


async def read_each(
    redis: Redis, after: Mapping[str, str], *, block_s: float, count: int = 1000
) -> list[tuple[str, Entries]]:
    """The same for several streams, by stream, at most `count` of each."""
    with translated():
        answer: Any = await redis.xread(cast("Any", after), count=count, block=int(block_s * 1000))
    return [(stream, entries) for stream, entries in answer or ()]


async def read_group(
    redis: Redis,
    group: str,
    consumer: str,
    streams: Mapping[str, str],
    *,
    count: int = 100,
    block_s: float | None = None,
) -> list[tuple[str, Entries]]:
    """Entries for one consumer of a group, by stream.

    With the id `>` those that nobody in the group was given yet; with `0` those that this consumer was given and has
    not acknowledged. An entry that was deleted since has no fields.
    """
    block_ms = None if block_s is None else int(block_s * 1000)
    with translated():
        answer: Any = await redis.xreadgroup(group, consumer, cast("Any", streams), count=count, block=block_ms)
    return [(stream, [(entry, fields or {}) for entry, fields in entries]) for stream, entries in answer or ()]
