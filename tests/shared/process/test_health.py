"""What a prober of `/healthz` and `/readyz` gets."""

import asyncio

import httpx
import pytest

from shared.process.health import health_server
from tests.processes import free_port


@pytest.mark.parametrize(
    ("path", "ready", "status", "text"),
    [
        ("/healthz", True, 200, "ok"),
        ("/healthz", False, 200, "ok"),
        ("/readyz", True, 200, "ready"),
        ("/readyz", False, 503, "not ready"),
        ("/anything", True, 404, "try /healthz or /readyz"),
    ],
)
async def test_a_prober_is_answered(path: str, ready: bool, status: int, text: str) -> None:
    port = free_port()
    async with health_server(port, lambda: ready), httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{port}{path}")
    assert (answer.status_code, answer.text) == (status, text)


async def test_readiness_is_asked_anew_each_time() -> None:
    port, answers = free_port(), iter([False, True])
    async with health_server(port, lambda: next(answers)), httpx.AsyncClient() as http:
        codes = [(await http.get(f"http://127.0.0.1:{port}/readyz")).status_code for _ in range(2)]
    assert codes == [503, 200]


@pytest.mark.parametrize("words", [b"", b"\n", b"\xff\xfe\n", b"GET\n", b"x" * 10_000], ids=repr)
async def test_a_prober_that_says_nonsense_does_not_stop_the_next(words: bytes) -> None:
    port = free_port()
    async with health_server(port, lambda: True), httpx.AsyncClient() as http:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(words)
        writer.write_eof()
        await reader.read()
        writer.close()
        assert (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200


async def test_without_a_port_nothing_is_served() -> None:
    async with health_server(0, lambda: True):
        pass


async def test_the_port_is_free_again_afterwards() -> None:
    port = free_port()
    async with health_server(port, lambda: True):
        pass
    (await asyncio.start_server(lambda *_: None, "127.0.0.1", port)).close()


async def test_metrics_are_told_where_there_are_some() -> None:
    async def metrics() -> bytes:
        return b"pipefleet_things 1\n"

    port = free_port()
    async with health_server(port, lambda: False, metrics), httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{port}/metrics")
    assert (answer.status_code, answer.text) == (200, "pipefleet_things 1\n")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
