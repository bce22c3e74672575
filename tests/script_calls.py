"""What scripts really do, as the server's MONITOR tells it."""

import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

import shared
from shared.redis.connection import Redis
from shared.script import source

_FILES = Path(shared.__path__[0], "scripts").glob("*.lua")
SCRIPTS = {sha1(source(file.stem).encode(), usedforsecurity=False).hexdigest(): file.stem for file in _FILES}
"""The name of each script by what `EVALSHA` calls it."""


_WORD = re.compile(r'"((?:[^"\\]++|\\.)*+)"')
"""One word of a command as MONITOR writes it; what is escaped in it is no key."""


@dataclass
class ScriptCall:
    """One run of a script: the keys that it was given, and those that its commands named."""

    name: str
    declared: set[str]
    touched: set[str] = field(default_factory=set)

    @property
    def undeclared(self) -> set[str]:
        """Keys that a Redis Cluster could have on another node.

        A declared one that ends with a colon is what a family of keys begins with; their hash tag stands in it.
        """
        families = tuple(key for key in self.declared if key.endswith(":") and "{bot}" in key)
        return {key for key in self.touched - self.declared if not key.startswith(families)}


@asynccontextmanager
async def strict_script_calls(client: Redis) -> AsyncIterator[list[ScriptCall]]:
    """Listen while the context lasts; the list is filled at its end.

    Whatever branches they took, no script may have named a key that it was not given.
    """
    redis: Any = client
    calls: list[ScriptCall] = []
    connection = await redis.connection_pool.get_connection()
    try:
        await connection.send_command("MONITOR")
        await connection.read_response()
        yield calls
        end = uuid.uuid4().hex
        await redis.execute_command("ECHO", end)
        while end not in (line := await connection.read_response()):
            await _note(redis, line, calls)
    finally:
        await connection.disconnect()
        await redis.connection_pool.release(connection)
    undeclared = [call for call in calls if call.undeclared]
    assert not undeclared, undeclared


async def _note(redis: Any, line: str, calls: list[ScriptCall]) -> None:
    source, _, command = line.partition("] ")
    words = _WORD.findall(command)
    if source.endswith(" lua"):
        calls[-1].touched |= await _keys(redis, words)
    elif words[0] == "EVALSHA":
        calls.append(ScriptCall(SCRIPTS[words[1]], set(words[3 : 3 + int(words[2])])))


async def _keys(redis: Any, command: list[str]) -> set[str]:
    if len(command) == 1:
        return set()
    try:
        return set(await redis.execute_command("COMMAND GETKEYS", *command))
    except ResponseError as error:
        if "no key arguments" in str(error):
            return set()
        raise
