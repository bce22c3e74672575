"""Looking for secrets in all that a fleet lets others see."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tests.processes import Child


def forms(secret: str) -> set[str]:
    """How a secret can be spelt: as it is, in JSON, in an address, and in base64 wherever it begins there."""
    found = {secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe="")}
    for before in range(3):
        # What its neighbours have a part in is left out.
        whole = base64.b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        inner = whole[(before * 8 + 5) // 6 :][: len(secret.encode()) * 8 // 6 - 2]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return found


@dataclass
class Haul:
    """What can be seen, by where, and the secrets that must not be in it."""

    secrets: Mapping[str, str]
    seen: list[tuple[str, str]] = field(default_factory=list)

    def add(self, where: str, text: Any) -> None:
        """Something that others can see."""
        self.seen.append((where, text if isinstance(text, str) else json.dumps(text, default=str)))

    async def answered(self, response: httpx.Response) -> None:
        """An answer, with its headers; a hook of the client."""
        if "event-stream" not in response.headers.get("content-type", ""):
            await response.aread()
            self.add(f"answer to {response.request.url.path}", f"{response.headers} {response.text}")

    def outputs(self, children: Iterable[Child]) -> None:
        """What processes have written."""
        for child in children:
            self.add(f"output of {child.name}", child.output())

    def command_lines(self) -> None:
        """What `ps` shows of every process of this machine that is ours to see."""
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.add("command line", entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue

    async def redis(self, client: Any) -> None:
        """Every key with all that it has."""
        for key in await client.keys():
            kind = await client.type(key)
            found = {
                "stream": lambda: client.xrange(key),  # noqa: B023 - called at once
                "set": lambda: client.smembers(key),  # noqa: B023
                "hash": lambda: client.hgetall(key),  # noqa: B023
                "string": lambda: client.get(key),  # noqa: B023
            }
            self.add("redis", f"{key} {await found[kind]()}")

    def leaks(self, *, allowed: Iterable[tuple[str, str]] = ()) -> set[tuple[str, str]]:
        """Which secret is where, but for those pairs that are meant to be."""
        spelt = {name: forms(secret) for name, secret in self.secrets.items()}
        return {
            (name, where)
            for where, text in self.seen
            for name, spellings in spelt.items()
            if any(spelling in text for spelling in spellings)
        } - set(allowed)
