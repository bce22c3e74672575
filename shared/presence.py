"""Who is there: runners say so every few seconds, and what is older than that is gone."""

from typing import Any

from shared.contract import FIELD, PRESENCE_EVERY_S, PRESENCE_KEPT_S, RUNNERS, Presence
from shared.errors import BadEntry
from shared.redis.connection import Redis, translated
from shared.redis.entries import Decoder, encode, milliseconds

_presence = Decoder[Presence](Presence)


async def announce(redis: Redis, presence: Presence) -> None:
    """Tell everyone, and drop what is too old to count.

    Raises:
        Unavailable: Redis does not answer.
    """
    with translated():
        entry: Any = await redis.xadd(RUNNERS, {FIELD: encode(presence)})
        await redis.xtrim(RUNNERS, minid=f"{milliseconds(entry) - int(PRESENCE_KEPT_S * 1000)}", approximate=False)


async def about_how_many(redis: Redis) -> int:
    """How many runners live, without reading what they say: at most so many say it every few seconds.

    Too many where runners have much to tell, and never too few by more than those that have just come.

    Raises:
        Unavailable: Redis does not answer.
    """
    with translated():
        said = int(await redis.xlen(RUNNERS))
    return int(said * PRESENCE_EVERY_S / PRESENCE_KEPT_S)


async def present(redis: Redis) -> list[Presence]:
    """The living fleet, each runner with the last it said.

    Raises:
        Unavailable: Redis does not answer.
    """
    async with redis.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.xrange(RUNNERS)
        with translated():
            (seconds, microseconds), entries = await pipe.execute()
    oldest_ms = seconds * 1000 + microseconds // 1000 - int(PRESENCE_KEPT_S * 1000)
    latest: dict[str, Presence] = {}
    for entry, fields in entries:
        if milliseconds(entry) < oldest_ms:
            continue
        try:
            presence = _presence(fields)
        except BadEntry:
            continue
        latest[presence.runner] = presence
    return sorted((p for p in latest.values() if p.state != "gone"), key=lambda p: p.runner)
