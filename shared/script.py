"""The Lua scripts by name. Each `.lua` file is headed by its keys, arguments and answer.

Where an entry's id is ahead of the clock, because somebody has put it there by hand, nothing could be added under the
feed's next id. A script that finds this out changes nothing, and is run again when the streams are set back.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import structlog
from redis.exceptions import ResponseError

from shared.contract import ACTIVITY, DEAD, EVENTS, LAUNCH, RELAUNCH, RUNNERS, activity_key, session_key
from shared.redis.connection import Redis, translated

_FOLDER = Path(__file__).parent / "scripts"
_TELL = Path(__file__).parent / "tell.lua"
AHEAD_MS = 24 * 3600 * 1000
"""So far a feed's ids may be ahead of the clock: one that was set back, or that of a replica which takes over, must not
cost a single live launch. Scripts know it by this name."""
_AHEAD = ("AHEAD ", "exhausted the last", "invalid start ID for the interval")
"""What scripts and servers say then; the last two of the largest id, which nothing can follow."""
_LAUNCHES = (LAUNCH, RELAUNCH)
_TOLD = (session_key(""), activity_key(""))

log = structlog.get_logger()


@cache
def source(name: str) -> str:
    """The text of a script, with what it uses before it."""
    text = (_FOLDER / f"{name}.lua").read_text()
    if "tell(" in text:
        text = _TELL.read_text() + text
    return f"local AHEAD_MS = {AHEAD_MS}\n{text}" if "AHEAD_MS" in text else text


def is_ahead(answer: object) -> bool:
    """Whether an answer says that a stream has an id which is ahead of the clock."""
    return isinstance(answer, ResponseError) and any(sign in str(answer) for sign in _AHEAD)


class Script:
    """One script on one server: `EVALSHA`, and `EVAL` where the server has not seen it."""

    def __init__(self, redis: Redis, name: str) -> None:
        self._redis = redis
        self._run = redis.register_script(source(name))

    @property
    def sha(self) -> str:
        """The name by which the server knows it."""
        return str(self._run.sha)

    async def __call__(self, keys: list[str], args: list[str | int]) -> Any:
        """Run it and give its raw answer.

        Raises:
            Unavailable: Redis does not answer.
        """
        with translated():
            try:
                return await self._run(keys=keys, args=args)
            except ResponseError as error:
                if not is_ahead(error):
                    raise
            await set_back(self._redis, keys)
            return await self._run(keys=keys, args=args)

    async def queue(self, pipe: Any, keys: list[str], args: list[str | int]) -> None:
        """Run it as a part of a pipeline, which gives the answer."""
        await self._run(keys=keys, args=args, client=pipe)


async def set_back(redis: Redis, streams: Iterable[str]) -> None:
    """Take out of the feeds and of these streams what is ahead of the clock; keys of other kinds are passed over.

    Raises:
        Unavailable: Redis does not answer.
    """
    feeds = [EVENTS, ACTIVITY, DEAD]
    others = [stream for stream in streams if stream not in feeds]
    script = redis.register_script(source("set_back"))
    with translated():
        told: Any = await script(keys=[*feeds, *others], args=[*map(_kind, others)])
    for stream, count in zip(told[::2], told[1::2], strict=True):
        log.error("stream_set_back", stream=stream, entries=count, why="their ids were ahead of the clock")


def _kind(stream: str) -> str:
    if stream.startswith(_LAUNCHES):
        return "launch"
    if stream == RUNNERS:
        return "presence"
    return "told" if stream.startswith(_TOLD) else ""
