from typing import Any

import pytest
from litestar import get

from services.gateway import app as app_module
from services.gateway.access.auth import OPEN
from tests.gateway.conftest import Gateway, StartGateway


def in_the_one_shape(answer: Any, status: int, code: str) -> str:
    error: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert (answer.status_code, error["status"], error["code"]) == (status, status, code)
    assert sorted(error) == ["code", "error", "info", "message", "status"]
    assert error["error"] == error["message"] == error["info"]
    assert "Traceback" not in answer.text
    return str(error["error"])


@pytest.mark.parametrize(
    "path", ["/nothing", "/sessions/a/b/c", "/schema/nothing", "/client/nothing.js", "/client/../../pyproject.toml"]
)
async def test_an_unknown_address_has_the_one_shape(gateway: Gateway, path: str) -> None:
    in_the_one_shape(await gateway.http.get(path), 404, "NOT_FOUND")


async def test_a_method_that_is_not_possible_says_which_are(gateway: Gateway) -> None:
    answer = await gateway.http.put("/join", json={})
    in_the_one_shape(answer, 405, "METHOD_NOT_ALLOWED")
    assert "POST" in answer.headers["allow"]


NOTHING = (b"", b"null")
NO_OBJECTS = (b"{", b"{'a': 1}", b"[1]", b'"text"', b"\xff\xfe", b'{"a": 1e999}', b"[" * 500_000)
BODIES = ["/join", "/admin", "/leave", "/sessions/x/api/offer"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        *((path, content) for path in BODIES for content in (*NOTHING, *NO_OBJECTS)),
        *(("/start", content) for content in NO_OBJECTS),  # which is the one that may go without
    ],
)
async def test_a_body_that_is_no_json_object_is_invalid(gateway: Gateway, path: str, content: bytes) -> None:
    answer = await gateway.http.post(path, content=content, headers={"Content-Type": "application/json"})
    in_the_one_shape(answer, 400, "INVALID_BODY")


@pytest.mark.parametrize("path", [*BODIES, "/start"])
async def test_a_body_with_text_that_is_not_utf_8_is_invalid(gateway: Gateway, path: str) -> None:
    """JSON that was whole but for one Latin-1 letter in a text was answered 500, with a stack in the log."""
    content = '{"session_id": "x", "text": "Käse"}'.encode("latin-1")
    answer = await gateway.http.post(path, content=content, headers={"Content-Type": "application/json"})
    assert in_the_one_shape(answer, 400, "INVALID_BODY") == "Not readable: the body is not UTF-8."


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_above_1_mb_is_too_large(gateway: Gateway, announced: bool) -> None:
    async def pieces() -> Any:
        for _ in range(20):
            yield b" " * 100_000

    content = b" " * 2_000_000 if announced else pieces()
    answer = await gateway.http.post("/join", content=content, headers={"Content-Type": "application/json"})
    in_the_one_shape(answer, 413, "TOO_LARGE")


async def test_an_unforeseen_failure_is_told_without_what_it_was_about(
    gateway_with: StartGateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    @get("/broken", opt=OPEN)
    async def broken() -> None:
        token = "SECRET"
        raise RuntimeError(f"cannot use {token}")

    monkeypatch.setattr(app_module, "HANDLERS", [*app_module.HANDLERS, broken])
    async with gateway_with() as gateway:
        answer = await gateway.http.get("/broken")
    assert "SECRET" not in in_the_one_shape(answer, 500, "INTERNAL")
    logged = "".join(capfd.readouterr())
    assert "SECRET" not in logged
    assert "test_errors.py" in logged
