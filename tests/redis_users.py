"""The users of `k8s/redis/users.acl`: a server that has them, services that log in as them, what they did."""

import asyncio
import os
import re
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.redis.connection import Redis
from tests.processes import ROOT, Child, Children, free_port
from tests.redis_server import RedisServer

FOLDER = ROOT / "k8s/redis"
NAMES = ("gateway", "operator", "runner", "reader")
PASSWORDS = {f"REDIS_PASSWORD_{name.upper()}": f"pass-{name}/+" for name in NAMES}
TEST = "user test on nopass ~* &* +@all"
"""For the test itself; a connection as this user is not one of the fleet's."""
CONTAINERS = {"client", "memory", "script", "xgroup", "xinfo"}
"""Commands whose first word after the name says what they do."""
_WORD = re.compile(r'"((?:[^"\\]++|\\.)*+)"')


def users(folder: Path = FOLDER, **env: str) -> list[str]:
    """What `users.sh` prints: a line for each user."""
    environ = {"PATH": os.environ["PATH"], **PASSWORDS, **env}
    done = subprocess.run(["/bin/sh", folder / "users.sh"], env=environ, capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.splitlines()


@dataclass(frozen=True)
class Rights:
    """What a user may call, and what with the keys of each pattern: `R`, `W`, or `RW`."""

    commands: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)


def granted() -> dict[str, Rights]:
    """The rights of each user, as the file says."""
    rights = {}
    for line in users():
        _, name, *words = line.split()
        keys = {word.partition("~")[2]: word.partition("~")[0].strip("%") or "RW" for word in words if "~" in word}
        rights[name] = Rights({word[1:] for word in words if word[0] == "+"}, keys)
    return rights


class Users:
    """A server that lets nobody in but its users."""

    def __init__(self, program: str, folder: Path) -> None:
        # With a name for each connection, which the record needs, and nobody else does.
        lines = [f"{line} +client|setname" for line in users()]
        (folder / "users.acl").write_text("\n".join([*lines, TEST, ""]))
        self._port = free_port()
        options = ("--port", str(self._port), "--bind", "127.0.0.1", "--aclfile", str(folder / "users.acl"))
        self.server = RedisServer(program, folder, *options)

    def url(self, name: str) -> str:
        """For `REDIS_URL`, as one of the users."""
        password = PASSWORDS.get(f"REDIS_PASSWORD_{name.upper()}", "any").replace("/", "%2F").replace("+", "%2B")
        return f"redis://{name}:{password}@127.0.0.1:{self._port}/0?client_name={name}"


@contextmanager
def server_with_users(program: str, folder: Path) -> Iterator[Users]:
    """One that runs."""
    made = Users(program, folder)
    made.server.start()
    try:
        yield made
    finally:
        made.server.kill()


class Services(Children):
    """Services that log in as what they are."""

    def __init__(self, folder: Path, users: Users) -> None:
        super().__init__(folder, {})
        self._users = users

    def service(self, service: str, **env: str) -> Child:
        """As from `Children`."""
        return super().service(service, REDIS_URL=self._users.url(service), **env)


async def refused(redis: Redis) -> list[str]:
    """What users tried and may not, as ACL LOG has it."""
    log: Any = await redis.acl_log()
    return [
        f"{one['username']}: {one['reason']} {one['object']} ({one['context']})"
        for one in log
        if one["username"] in NAMES
    ]


@asynccontextmanager
async def recorded(redis: Redis) -> AsyncIterator[dict[str, Rights]]:
    """Listen to all that users do, in scripts and out of them; what they used is there at the end of the context."""
    client: Any = redis
    used: dict[str, Rights] = {name: Rights() for name in NAMES}
    connection = await client.connection_pool.get_connection()
    end = uuid.uuid4().hex
    await connection.send_command("MONITOR")
    await connection.read_response()
    reading = asyncio.create_task(_read(connection, end))
    try:
        yield used
        await client.execute_command("ECHO", end)
        for (name, command), words in (await reading).items():
            used[name].commands.add(command)
            await _note_keys(client, used[name].keys, words)
    except BaseException as error:
        error.add_note(f"ACL LOG: {await refused(redis)}")
        raise
    finally:
        reading.cancel()
        await connection.disconnect()
        await client.connection_pool.release(connection)


Shapes = dict[tuple[str, str], dict[tuple[str, ...], list[str]]]
"""By user and command: an example of each set of patterns that its keys are of."""


async def _read(connection: Any, end: str) -> Shapes:
    patterns = {name: rights.keys for name, rights in granted().items()}
    whose: dict[str, str] = {}
    caller = ""
    seen: Shapes = {}
    while end not in (line := await _line(connection)):
        source, _, rest = line.partition("] ")
        source = source.rpartition(" ")[2]
        words = _WORD.findall(rest)
        command = words[0].lower()
        command += f"|{words[1].lower()}" if command in CONTAINERS else ""
        if command == "client|setname":
            whose[source] = words[2]
            continue
        caller = caller if source == "lua" else whose.get(source, "")
        if caller in NAMES:
            shape = tuple(pattern_of(word, patterns[caller]) for word in words[1:] if word.startswith("{bot}:"))
            seen.setdefault((caller, command), {}).setdefault(shape, words)
    return seen


async def _line(connection: Any) -> str:
    return str(await connection.read_response(timeout=None, disconnect_on_error=False))


async def _note_keys(client: Any, keys: dict[str, str], examples: dict[tuple[str, ...], list[str]]) -> None:
    """Ask the server what the command does with each key of its examples."""
    patterns = {name: "" for rights in granted().values() for name in rights.keys}
    for shape, words in examples.items():
        if not shape:
            continue
        for key, flags in await client.execute_command("COMMAND GETKEYSANDFLAGS", *words):
            pattern = pattern_of(key, patterns)
            needs = "R" if {"access", "RO"} & set(flags) else ""
            needs += "W" if {"insert", "update", "delete"} & set(flags) else ""
            keys[pattern] = "".join(sorted({*keys.get(pattern, ""), *needs}))


def pattern_of(key: str, patterns: dict[str, str]) -> str:
    """The pattern of these that a key is of, or the key itself. No two of a service are for one key."""
    for pattern in patterns:
        if pattern == key or (pattern.endswith("*") and pattern != "{bot}:*" and key.startswith(pattern[:-1])):
            return pattern
    return key
