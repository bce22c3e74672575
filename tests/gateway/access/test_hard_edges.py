"""Requests as nobody sends them by accident, over a socket: each has its answer, and none leaves a trace of failure."""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from services.gateway.access.connections import OnceASecond
from tests.gateway.test_process import started
from tests.processes import Child, Children
from tests.waiting import until

JSON = "Host: localhost\r\nContent-Type: application/json\r\n"
TOO_DEEP = '{"transport":"none","body":' + "[" * 65 + "]" * 65 + "}"
BIG = 1_100_000


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["code"])


@dataclass(frozen=True)
class Server:
    """A gateway that is a process."""

    child: Child
    port: int

    async def answer(self, raw: bytes) -> Answer:
        """What is said to these bytes, and whether the connection is closed with it."""
        async with self.connected() as (reader, writer):
            writer.write(raw)
            return await read_answer(reader)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection of one's own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        closes = headers.get("connection") == "close"
        if closes:
            with suppress(ConnectionResetError):  # which is how a connection ends that has more to be read
                assert await reader.read() == b""
        return Answer(int(status.split()[1]), headers, body, closes)


@pytest.fixture
async def server(children: Children) -> AsyncIterator[Server]:
    async with started(children, LOG_LEVEL="debug") as (child, http):
        yield Server(child, http.base_url.port or 0)
        assert child.traces() == []
        assert "request_failed" not in child.output()
        assert '"level":"error"' not in child.output()


def get(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode("latin-1")


def post(head: str, body: str | bytes = b"") -> bytes:
    content = body.encode() if isinstance(body, str) else body
    return f"POST /join HTTP/1.1\r\n{JSON}{head}\r\n".encode() + content


def sized(body: str) -> bytes:
    return post(f"Content-Length: {len(body)}\r\n", body)


NOT_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client of TLS",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /status HTTP/9.9\r\n\r\n",
    b"get /status HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /sessions?agent=\xc3\xbc HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /status HTTP/1.1\nHost: localhost\n\n",
    get("/status", "A: \x00\r\n"),
    get("/status", "A : b\r\n"),
    get("/status", "A: b\r\n c\r\n"),
    get("/status", "Host: localhost\r\n"),
    # Lengths on which a proxy in front could differ from us: what follows would be somebody's next request.
    post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    post("Content-Length: 2\r\nContent-Length: 4\r\n", "{}{}"),
    post("Content-Length: 2, 2\r\n", "{}"),
    post("Content-Length: -2\r\n", "{}"),
    post("Content-Length: +2\r\n", "{}"),
    post("Content-Length: 99999999999999999999999\r\n", "{}"),
    post("Transfer-Encoding: gzip\r\n", "{}"),
    post("Transfer-Encoding: xchunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
    post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "2\r\n{}\r\n0\r\n\r\n"),
    post("Transfer-Encoding : chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
    post("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"),
    post("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    post("Transfer-Encoding: chunked\r\n", "2\r\n{}xx0\r\n\r\n"),
]

UNUSUAL = [
    (get("/client/%00"), 404, "NOT_FOUND"),
    (get("/client/" + "a" * 5000), 404, "NOT_FOUND"),
    (get("/client/%2e%2e/%2e%2e/pyproject.toml"), 404, "NOT_FOUND"),
    (get("/client/..%2f..%2f..%2fetc/passwd"), 404, "NOT_FOUND"),
    (get("/client/%ff%fe"), 404, "NOT_FOUND"),
    (get("/client;/../pyproject.toml"), 404, "NOT_FOUND"),
    (get("//evil.example/%2f.."), 404, "NOT_FOUND"),
    (get("/schema/%00"), 404, "NOT_FOUND"),
    (get("/sessions/%00"), 404, "NOT_FOUND"),
    (get("/sessions/%ed%a0%80"), 404, "NOT_FOUND"),
    (get("/sessions/a%0d%0aSet-Cookie:%20b"), 404, "NOT_FOUND"),
    (get("/sessions?limit=%ff"), 400, "INVALID_QUERY"),
    (get("/sessions?after=%d9%a1-%d9%a1"), 400, "INVALID_QUERY"),
    (get("/sessions?after=1-1%0a"), 400, "INVALID_QUERY"),
    (get("/sessions?after=%0a"), 400, "INVALID_QUERY"),
    (get("/events", "Last-Event-ID: \xff\xfe\r\n"), 400, "INVALID_QUERY"),
    (get("/events?last_event_id=99999999999999999999999999-0_0-0"), 400, "INVALID_QUERY"),
    (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "NOT_FOUND"),
    (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
    (b"GET /status HTTP/1.1\r\n\r\n", 403, "FORBIDDEN"),
    (b"POST /dead/%00/redrive HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "NOT_FOUND"),
    (b"DELETE /dead/99999999999999999999999-1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "NOT_FOUND"),
    (b"POST /join HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", 415, "NOT_JSON"),
    (sized('{"transport":"none","labels":{"a":"\\ud800"}}'), 400, "INVALID_BODY"),
    (sized(TOO_DEEP), 400, "INVALID_BODY"),
    (sized("[" * 400_000), 400, "INVALID_BODY"),
    (sized(" " * BIG), 413, "TOO_LARGE"),
    (post("Content-Length: 9999999999\r\n", "{}"), 413, "TOO_LARGE"),
    (post("Transfer-Encoding: chunked\r\n", f"{BIG:x}\r\n{' ' * BIG}\r\n0\r\n\r\n"), 413, "TOO_LARGE"),
    (post("Content-Encoding: gzip\r\nContent-Length: 4\r\n", b"\x1f\x8b\x08\x00"), 400, "INVALID_BODY"),
    (get("/status", "".join(f"A{number}: b\r\n" for number in range(6000))), 431, "HEAD_TOO_LARGE"),
    (get("/status", f"A: {'b' * 40_000}\r\n"), 431, "HEAD_TOO_LARGE"),
    (get("/" + "b" * 40_000), 431, "HEAD_TOO_LARGE"),
    (b"GET /status HTTP/1.1\r\nA: " + b"b" * 300_000, 431, "HEAD_TOO_LARGE"),
    (b"GET /" + b"b" * 300_000, 431, "HEAD_TOO_LARGE"),
]  # fmt: skip


async def test_what_is_no_request_is_answered_in_the_one_shape_and_its_connection_closed(server: Server) -> None:
    for raw in NOT_HTTP:
        answer = await server.answer(raw)
        assert (answer.status, answer.code, answer.closed) == (400, "NOT_HTTP", True), raw
    assert server.child.output().count("Invalid HTTP request received.") < len(NOT_HTTP) / 2


async def test_an_unusual_request_has_the_error_that_it_should_have(server: Server) -> None:
    for raw, status, code in UNUSUAL:
        answer = await server.answer(raw)
        assert (answer.status, answer.code) == (status, code), raw[:100]
        assert answer.headers["content-type"] == "application/json"
        assert "set-cookie" not in answer.headers


async def test_what_asks_for_another_protocol_is_answered_and_what_follows_it_is_no_request(server: Server) -> None:
    body = '{"transport":"none"}GET /fleet HTTP/1.1\r\nHost: localhost\r\n\r\n'
    answer = await server.answer(post("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 20\r\n", body))
    assert (answer.status, answer.code, answer.closed) == (400, "INVALID_BODY", True)


TRAILERS = b"A: b\r\n" * 200_000
BEHIND_ITS_BODY = b'14\r\n{"transport":"none"}\r\n0\r\nHost: localhost\r\n\r\n'
HEADLESS = b"POST /join HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_what_stands_behind_a_body_is_no_header_of_the_request(server: Server) -> None:
    """A key, or the name by which the gateway is called, came past a proxy in a trailer."""
    answer = await server.answer(HEADLESS + BEHIND_ITS_BODY)
    assert (answer.status, answer.code) == (403, "FORBIDDEN")


@pytest.mark.parametrize("more", [TRAILERS, b"100000\r\n" + b" " * 0x100000 + b"\r\n"], ids=["trailers", "chunks"])
async def test_a_body_that_has_no_end_is_cut_off(server: Server, more: bytes) -> None:
    """One connection without a key made the process hold a gigabyte of trailers within three seconds."""
    async with server.connected() as (_, writer):
        writer.write(HEADLESS + (b"0\r\n" if more is TRAILERS else b""))
        with pytest.raises(ConnectionError):
            await _send(writer, more, 64)


async def _send(writer: asyncio.StreamWriter, more: bytes, times: int) -> None:
    for _ in range(times):
        writer.write(more)
        await writer.drain()


async def test_every_answer_tells_browsers_what_not_to_do_with_it(server: Server) -> None:
    for raw in (get("/status"), get("/client/"), get("/nothing"), b"no HTTP at all\r\n\r\n"):
        headers = (await server.answer(raw)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    for path in ("/client/", "/client/favicon.svg"):
        policy = (await server.answer(get(path))).headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy


async def test_a_request_that_breaks_off_in_its_body_is_nobodys_failure(server: Server) -> None:
    async with server.connected() as (_, writer):
        writer.write(post("Content-Length: 100\r\n", "{"))
        await writer.drain()
    assert (await server.answer(get("/status"))).status == 200


PATIENT_FOR_S = 0.3
MOST = 30
ALTERED = """
import sys
from services.gateway import __main__
from services.gateway.access import connections
{}
sys.exit(__main__.main())
"""
IMPATIENT = ALTERED.format(f"connections.HEAD_S = connections.BODY_S = {PATIENT_FOR_S}")
CROWDED = ALTERED.format(f"connections.most_connections = lambda: {MOST}")
TRICKLING = [
    (b"GET /stat", b"u"),
    (b"GET /status HTTP/1.1\r\nHost: localhost\r\n", b"A: b\r\n"),
    (post("Content-Length: 100\r\n", '{"transport"'), b" "),
    (post("Transfer-Encoding: chunked\r\n"), b"1\r\n \r\n"),
]
"""What a client sends at once, and what it goes on with."""


@pytest.fixture
async def impatient(children: Children) -> AsyncIterator[Server]:
    """A gateway that waits for the rest of a request for a part of a second."""
    async with started(children, [sys.executable, "-c", IMPATIENT]) as (child, http):
        yield Server(child, http.base_url.port or 0)
        assert child.traces() == []


@pytest.fixture
async def crowded(children: Children) -> AsyncIterator[Server]:
    """A gateway that takes few clients, and has none."""
    async with started(children, [sys.executable, "-c", CROWDED]) as (child, http):
        await http.aclose()
        yield Server(child, http.base_url.port or 0)
        assert child.traces() == []


async def test_a_request_that_trickles_is_cut_off_wherever_it_is(impatient: Server) -> None:
    async def cut_off(raw: bytes, more: bytes) -> bytes:
        async with impatient.connected() as (reader, writer):
            writer.write(raw)
            said = asyncio.create_task(reader.read())
            while not said.done():
                # A byte now and then keeps a timer that looks at the last one from ever running out.
                writer.write(more)
                await asyncio.wait({said}, timeout=PATIENT_FOR_S / 4)
            return said.result()

    async with asyncio.timeout(15):
        assert [await cut_off(idle, idle) for idle in (b"", b"\r\n")] == [b"", b""]
        said = await asyncio.gather(*(cut_off(raw, more) for raw, more in TRICKLING))
    for (raw, _), answer in zip(TRICKLING, said, strict=True):
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), raw
        assert b'"code":"TOO_SLOW"' in answer


async def test_a_request_in_hand_is_given_all_the_time_that_its_answer_takes(impatient: Server) -> None:
    body = '{"transport":"none"}'
    raw = f"POST /join?wait={PATIENT_FOR_S * 5} HTTP/1.1\r\n{JSON}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    async def in_hand() -> Answer | None:
        """What is answered, unless the request itself came too late."""
        answer = await impatient.answer(raw)
        return None if answer.status == 408 else answer

    answer: Answer = await until(in_hand)
    assert (answer.status, json.loads(answer.body)["status"]) == (202, "queued")


async def test_one_client_too_many_is_told_so_and_a_place_that_is_free_again_is_given_away(crowded: Server) -> None:
    """A place is free again a moment after its client has gone."""
    events = get("/events")

    async def served() -> bool:
        return (await crowded.answer(get("/fleet"))).status == 200

    async with AsyncExitStack() as clients:

        async def one_more() -> bool:
            reader, writer = await clients.enter_async_context(crowded.connected())
            writer.write(events)
            return (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")

        for _ in range(MOST - 1):
            await until(one_more)
        await until(served)
        await until(one_more)
        full = await crowded.answer(get("/fleet"))
        assert (full.status, full.code, full.closed) == (503, "TOO_MANY_CONNECTIONS", True)
        assert full.headers["retry-after"] == "2"

    await until(served)


def test_a_warning_is_written_once_a_second_and_errors_always() -> None:
    once = OnceASecond()

    def record(text: str, created: float, level: int = logging.WARNING) -> logging.LogRecord:
        made = logging.LogRecord("uvicorn.error", level, "", 0, text, (), None)
        made.created = created
        return made

    seen = [once.filter(record("bad", at)) for at in (1.0, 1.5, 2.0, 2.9, 3.1)]
    assert seen == [True, False, True, False, True]
    assert once.filter(record("another", 3.1))
    assert all(once.filter(record("worse", 1.0, logging.ERROR)) for _ in range(2))
