"""Clients that ask and do not read, or leave before they are answered, over a socket."""

import select
import socket
import sys
from contextlib import closing
from pathlib import Path

import httpx

from services.gateway.pages.client_page import page_directory
from tests.gateway.test_process import started
from tests.processes import Child, Children
from tests.waiting import until

IMPATIENT = """
import sys
from services.gateway import __main__
from services.gateway.access import connections
connections.UNREAD_S = 0.5
sys.exit(__main__.main())
"""
UNREAD = 30
AT_ONCE = 12
"""So many answers of more than a megabyte are more than the kernel takes."""


def largest_script() -> str:
    """The page's, which everyone may have."""
    return max((page_directory() / "assets").glob("*.js"), key=lambda file: file.stat().st_size).name


def asked(port: int, raw: bytes) -> socket.socket:
    """A connection with these requests on it, of which nothing is read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(raw)
    return client


def broken_off(client: socket.socket) -> bool:
    poll = select.poll()
    poll.register(client, 0)
    return bool(poll.poll(0))


def resident_mb(child: Child) -> float:
    lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


async def answered(http: httpx.AsyncClient, route: str) -> bool:
    return f'route="{route}"' in (await http.get("/metrics")).text


async def test_a_client_that_reads_nothing_is_parted_with(children: Children) -> None:
    """Some hundred of them without a key, for as long as they liked, held all of a gateway's memory."""
    script = f"GET /client/assets/{largest_script()} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    async with started(children, [sys.executable, "-c", IMPATIENT]) as (child, http):
        with closing(asked(http.base_url.port or 0, script * AT_ONCE)) as client:
            await until(lambda: broken_off(client))
    assert '"level":"error"' not in child.output()


async def test_those_who_read_nothing_share_what_they_do_not_read(children: Children) -> None:
    script = f"GET /client/assets/{largest_script()} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    async with started(children) as (child, http):
        before_mb = resident_mb(child)
        clients = [asked(http.base_url.port or 0, script * AT_ONCE) for _ in range(UNREAD)]
        for _ in range(UNREAD):
            await http.get("/status")

        async def all_are_served() -> bool:
            counted = [line for line in (await http.get("/metrics")).text.splitlines() if 'route="script"' in line]
            return any(float(line.rpartition(" ")[2]) >= 3 * UNREAD for line in counted)

        await until(all_are_served)
        grown_mb = resident_mb(child) - before_mb
        for client in clients:
            client.close()
    assert grown_mb < UNREAD


async def test_a_client_that_leaves_with_two_requests_on_its_way_is_nobodys_failure(children: Children) -> None:
    """The server told only the last of them, and the one in hand left a traceback in the log."""
    body = '{"transport":"none","room_url":"x://room"}'
    head = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    raw = f"POST /join?wait=60 HTTP/1.1\r\n{head}{body}GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with started(children) as (child, http):
        port = http.base_url.port or 0
        with closing(asked(port, raw.encode())):

            async def accepted() -> bool:
                return bool((await http.get("/sessions")).json()["sessions"])

            await until(accepted)
        assert (await http.post("/leave", json={"room_url": "x://room"})).status_code == 202
        await until(lambda: answered(http, "join"))
    assert '"level":"error"' not in child.output()
