"""One connection, and what a client may do with it: limits of the request itself, before there is an application.

uvicorn waits for the rest of a request as long as its client likes, and takes a head of any size. Here a head and a
body have their time, a head its size, an answer the time until it is read, and the process a number of connections. A
request that is cut short for it gets an error in the shape of all others, and its connection is closed.
"""

import asyncio
import logging
import math
import resource
import socket
import struct
import time
from enum import Enum, auto
from functools import partial
from typing import Any

import msgspec
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from services.gateway.error_answers import body_of
from services.gateway.errors import HeadTooLarge, HttpError, NotHttp, TooLarge, TooManyConnections, TooSlow
from services.gateway.events.stream import ABORT

HEAD_S = 10.0
"""How long the head of a request may take to come, and how long a connection may be idle before its first."""
BODY_S = 30.0
"""How long its body may take: 1 MB at 280 kbit/s."""
UNREAD_S = 60.0
"""How long a client may leave unread what was written to it, and keep it in our memory, which has no other end."""
LARGEST_HEAD = 32_768
MOST_SENT = 8_388_608
"""Of a body, with all that stands around its chunks. The application refuses one long before that, and its client is
to read so; who goes on sending is cut off."""
MOST_CONNECTIONS = 10_000
SPARE_FILES = 100
"""Files that the process needs besides: those of Redis, the log, the page."""


class _Doing(Enum):
    """What is read of the latest request."""

    HEAD = auto()
    BODY = auto()
    NOTHING = auto()


class _RefusedError(Exception):
    """Out of a callback of the parser, which calls it a bad request."""


def most_connections() -> int:
    """How many clients this process takes: as many as leave it the files that it needs."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if files == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, max(files - SPARE_FILES, 1))


class Connection(HttpToolsProtocol):
    """A client's connection. The server calls `give_up_if_overdue` every second."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._doing = _Doing.NOTHING
        self._head = 0
        self._sent = 0
        self._due = math.inf
        self._unread_since = math.inf
        self._served: RequestResponseCycle | None = None
        self._complaint: HttpError | None = None
        self._most = most_connections()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin, and let requests break the connection off: closing it waits for a client that reads nothing."""
        self.app_state = {**self.app_state, ABORT: partial(_break_off, transport)}
        super().connection_made(transport)
        self._due = time.monotonic() + HEAD_S
        if len(self.connections) > self._most:
            self._refuse(TooManyConnections())

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the request in hand know. uvicorn tells the latest one, which may be waiting behind it."""
        if self._served and not self._served.response_complete:
            self._served.disconnected = True
            self._served.message_event.set()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """The client has read."""
        self._unread_since = math.inf
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        if self._doing is _Doing.HEAD and not self.transport.is_closing():
            self._head += len(data)
            if self._head > LARGEST_HEAD:
                self._refuse(HeadTooLarge())
        elif self._doing is _Doing.BODY and not self.transport.is_closing():
            self._sent += len(data)
            if self._sent > MOST_SENT:
                self._cut_short(TooLarge())

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._doing, self._head, self._sent, self._due = _Doing.HEAD, 0, 0, time.monotonic() + HEAD_S

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is there; behind the body it is a trailer, which nobody here reads.

        uvicorn puts trailers among the headers, in front of the application that is only about to look at them. So a
        key or a host would come past whatever a proxy has seen of the head, and there is no end to how many.
        """
        if self._doing is _Doing.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there, and the application is called."""
        size, hosts = len(self.url), 0
        for name, value in self.headers:
            size += len(name) + len(value)
            hosts += name == b"host"
        if size > LARGEST_HEAD:
            self._complaint = HeadTooLarge()
            raise _RefusedError
        if hosts > 1:
            raise _RefusedError
        super().on_headers_complete()
        self._doing, self._due = _Doing.BODY, time.monotonic() + BODY_S

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        super().on_message_complete()
        self._doing = _Doing.NOTHING

    def on_response_complete(self) -> None:
        """The answer is given."""
        super().on_response_complete()
        if self._doing is _Doing.NOTHING:
            self._due = time.monotonic() + HEAD_S

    def give_up_if_overdue(self, now: float) -> None:
        """Part with a client whose request should have been there by now, or which does not read."""
        if self.flow.write_paused or self.transport.is_closing():
            self._unread_since = min(self._unread_since, now)
            if now - self._unread_since >= UNREAD_S:
                _break_off(self.transport)
        # uvicorn has no cycle before the first request, whatever its annotation says.
        cycle: RequestResponseCycle | None = self.cycle
        served = cycle and not cycle.response_complete
        waits_for_us = self.flow.read_paused or (served and self._doing is _Doing.NOTHING)
        if now < self._due or waits_for_us or self.transport.is_closing():
            return
        if self._doing is _Doing.NOTHING:
            self.transport.close()  # without a word: a browser that opened it beforehand would take it for an answer
        else:
            self._cut_short(TooSlow())

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request."""
        self._refuse(self._complaint or NotHttp())

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        # The parser reads no further, so this is the connection's last request.
        self.cycle.keep_alive = False

    def _cut_short(self, error: HttpError) -> None:
        """Part with a client in the middle of its request."""
        cycle: RequestResponseCycle | None = self.cycle
        if self._doing is not _Doing.HEAD and cycle and cycle.response_complete:
            self.transport.close()  # it has its answer
        elif cycle and cycle.response_started and not cycle.response_complete:
            self.transport.abort()
        else:
            self._refuse(error)

    def _refuse(self, error: HttpError) -> None:
        content = msgspec.json.encode(body_of(error))
        headers = {"content-type": "application/json", "content-length": len(content), "connection": "close"}
        lines = [STATUS_LINE[error.status]]
        lines += [name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers]
        lines += [f"{name}: {value}\r\n".encode() for name, value in {**error.headers, **headers}.items()]
        self.transport.write(b"".join([*lines, b"\r\n", content]))
        self.transport.close()


def give_up_overdue(state: ServerState, now: float) -> None:
    """Look at all connections of a server."""
    for connection in list(state.connections):
        if isinstance(connection, Connection):
            connection.give_up_if_overdue(now)


class OnceASecond(logging.Filter):
    """Lets a warning pass that was not seen for a second: what clients send badly must not fill the log."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written. Errors always are."""
        if record.levelno != logging.WARNING or not isinstance(record.msg, str):
            return True
        if record.created - self._last.get(record.msg, 0.0) < 1.0:
            return False
        self._last[record.msg] = record.created
        return True


def _break_off(transport: asyncio.Transport) -> None:
    # Without the linger time of 0 the kernel would keep megabytes for a client that reads nothing.
    sock = transport.get_extra_info("socket")
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
