"""Joins over so many connections, as many as a server takes or so many in a second: `python -m tests.bench.load`.

A process of its own, and next to nothing for each request, so that the server is what is measured.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop

BODY = '{"room_url": "https://example.daily.co/%s", "body": {"number": 0, "stay_s": 2.0}}'


@dataclass(frozen=True)
class Answers:
    """What a server made of it."""

    per_s: float
    refused: int
    p50_ms: float
    p99_ms: float


async def drive(
    url: str, path: str, run: str, *, connections: int, warm_up_s: float, for_s: float, per_s: float = 0.0
) -> Answers:
    """Such a load, from a process of its own; `run` tells its rooms from those of others, no `per_s` means no limit."""
    arguments = [url, path, run, connections, warm_up_s, for_s, per_s]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.load", *map(str, arguments), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return Answers(**json.loads(said))


class Caller(asyncio.Protocol):
    """One connection: a request when the last one is answered and the next one is due."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._transport: asyncio.Transport
        self._answer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """Answers have a Content-Length; nothing else is understood."""
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
        if len(body) < length:
            return
        self._load.answered(head[9:12], time.monotonic() - self._sent)
        self._answer = b""
        self._go_on()

    def _go_on(self) -> None:
        if wait_s := self._load.until_due():
            asyncio.get_running_loop().call_later(wait_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if self._transport.is_closing():
            return
        self._sent = time.monotonic()
        self._transport.write(self._load.request())


class Load:
    """All connections."""

    def __init__(self, url: str, path: str, run: str, per_s: float) -> None:
        self._address = urlsplit(url)
        self._place = (self._address.hostname or "", self._address.port or 80)
        self._path = path
        self._run = run
        self._every_s = 1 / per_s if per_s else 0.0
        self._due = 0.0
        self._numbers = itertools.count()
        self._counted = False
        self.took_s: list[float] = []
        self.refused = 0

    def until_due(self) -> float:
        """How long whoever is free has to wait before the next request."""
        if not self._every_s:
            return 0.0
        self._due += self._every_s
        return max(0.0, self._due - time.monotonic())

    def request(self) -> bytes:
        """The next one, for a room of its own."""
        body = BODY % f"{self._run}-{next(self._numbers)}"
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._address.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()

    def answered(self, status: bytes, took_s: float) -> None:
        """Count it."""
        if status[:1] != b"2":
            self.refused += 1
        elif self._counted:
            self.took_s.append(took_s)

    async def run(self, connections: int, warm_up_s: float, for_s: float) -> float:
        """Give how many were answered well in a second."""
        loop = asyncio.get_running_loop()
        self._due = time.monotonic()
        made = [(await loop.create_connection(lambda: Caller(self), *self._place))[0] for _ in range(connections)]
        await asyncio.sleep(warm_up_s)
        self._counted = True
        began = time.monotonic()
        await asyncio.sleep(for_s)
        self._counted = False
        took = time.monotonic() - began
        for transport in made:
            transport.abort()
        return len(self.took_s) / took


def main() -> None:
    """Say what was found as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("path")
    parser.add_argument("run")
    parser.add_argument("connections", type=int)
    parser.add_argument("warm_up_s", type=float)
    parser.add_argument("for_s", type=float)
    parser.add_argument("per_s", type=float)
    wanted = parser.parse_args()
    load = Load(wanted.url, wanted.path, wanted.run, wanted.per_s)
    per_s = uvloop.run(load.run(wanted.connections, wanted.warm_up_s, wanted.for_s))
    ordered = sorted(load.took_s)
    p50_s, p99_s = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    print(json.dumps(asdict(Answers(per_s, load.refused, p50_s * 1000, p99_s * 1000))))  # noqa: T201


if __name__ == "__main__":
    main()
