import asyncio
import time
from hashlib import sha256
from typing import Any

import pytest

from services.gateway.access.refusals import AT_ONCE
from services.gateway.settings import GatewaySettings
from shared.errors import SettingsError
from shared.settings import load
from tests.gateway.conftest import Gateway, StartGateway
from tests.waiting import until

JOIN_KEY, ADMIN_KEY = "join-key-1", "admin-key-ü"
LONG = "5f0c8f2b9a6e4d11a7c3"
KEYS = {"join_keys": (JOIN_KEY, "join-key-2"), "admin_keys": (ADMIN_KEY,)}

OPEN = [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/schema"), ("GET", "/schema/openapi.yaml"),
        ("GET", "/client/"), ("GET", "/"), ("GET", "/status"), ("GET", "/no-such-page")]  # fmt: skip
STARTING = [("POST", "/join"), ("POST", "/start"), ("POST", "/v1/public/agent/start"),
            ("POST", "/sessions/x/api/offer"), ("PATCH", "/sessions/x/api/offer")]  # fmt: skip
COMMANDING = [("POST", "/admin"), ("POST", "/leave"), ("DELETE", "/sessions/x"), ("GET", "/sessions"),
              ("GET", "/sessions/x"), ("GET", "/fleet"), ("GET", "/dead"), ("GET", "/metrics"),
              ("POST", "/dead/1-0/redrive"), ("DELETE", "/dead/1-0")]  # fmt: skip


def bearer(key: str) -> dict[str, Any]:
    return {"Authorization": f"Bearer {key}".encode()}


async def status(gateway: Gateway, route: tuple[str, str], headers: dict[str, Any]) -> int:
    method, path = route
    answer = await gateway.http.request(method, path, json={} if method in {"POST", "PATCH"} else None, headers=headers)
    if answer.status_code in {401, 403}:
        assert answer.json()["code"] == {401: "UNAUTHORIZED", 403: "FORBIDDEN"}[answer.status_code]
        assert "key-" not in answer.text
    return answer.status_code


@pytest.mark.parametrize("route", OPEN)
async def test_an_open_page_needs_no_key(gateway_with: StartGateway, route: tuple[str, str]) -> None:
    async with gateway_with(**KEYS) as gateway:
        assert await status(gateway, route, {}) not in {401, 403}


@pytest.mark.parametrize("route", STARTING + COMMANDING)
async def test_everything_else_needs_a_key_that_is_known(gateway_with: StartGateway, route: tuple[str, str]) -> None:
    async with gateway_with(**KEYS) as gateway:
        for headers in (
            {},
            bearer(""),
            bearer("join-key"),
            bearer("join-key-11"),
            {"Authorization": JOIN_KEY},
            {"Authorization": f"Basic {JOIN_KEY}"},
            {"X-Bot-Secret": "other"},
        ):
            assert await status(gateway, route, headers) == 401
        assert await status(gateway, route, bearer(ADMIN_KEY)) not in {401, 403}
        assert await status(gateway, route, {"X-Bot-Secret": ADMIN_KEY.encode()}) not in {401, 403}


async def test_a_join_key_starts_sessions_and_does_nothing_else(gateway_with: StartGateway) -> None:
    async with gateway_with(**KEYS) as gateway:
        for key in (JOIN_KEY, "join-key-2"):
            for headers in (bearer(key), {"authorization": f"bearer  {key}"}, {"X-Bot-Secret": key}):
                assert {await status(gateway, route, headers) for route in STARTING} <= {200, 202, 400, 404}
                assert {await status(gateway, route, headers) for route in COMMANDING} == {403}


async def test_with_keys_of_one_class_only_the_other_class_is_closed(gateway_with: StartGateway) -> None:
    async with gateway_with(join_keys=(JOIN_KEY,)) as gateway:
        assert await status(gateway, ("GET", "/fleet"), {}) == 401
        assert await status(gateway, ("GET", "/fleet"), bearer(JOIN_KEY)) == 403


async def test_a_key_is_good_until_its_last_day_is_over_beside_the_one_that_follows_it(
    gateway_with: StartGateway,
) -> None:
    hashed = "sha256:" + sha256(b"next").hexdigest()
    keys = ("last@2020-12-31", "current@9000-12-31", hashed)
    async with gateway_with(join_keys=keys, admin_keys=("admin@2020-12-31",)) as gateway:
        for key, expected in (("last", 401), ("admin", 401), ("current", 202), ("next", 202), (hashed, 401)):
            answer = await gateway.http.post("/join", json={"transport": "none"}, headers=bearer(key))
            assert answer.status_code == expected, key
            if key in {"last", "admin"}:
                assert answer.json()["error"] == "This key has expired."
                assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_many_refusals_are_told_later_and_keep_nobody_else_waiting(
    gateway_with: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_s = 2.0
    monkeypatch.setattr("services.gateway.access.refusals.LATER_S", later_s)
    async with gateway_with(**KEYS) as gateway:
        began = time.monotonic()
        flood = [asyncio.create_task(status(gateway, ("GET", "/fleet"), bearer("wrong"))) for _ in range(AT_ONCE + 20)]
        await until(lambda: sum(one.done() for one in flood) == AT_ONCE)
        answer = await gateway.http.post("/join", json={"transport": "none"}, headers=bearer(JOIN_KEY))
        assert (sum(one.done() for one in flood), answer.status_code) == (AT_ONCE, 202)
        assert await asyncio.gather(*flood) == [401] * (AT_ONCE + 20)
        assert time.monotonic() - began >= later_s


async def test_without_keys_everything_is_open(gateway: Gateway) -> None:
    for route in STARTING + COMMANDING:
        assert await status(gateway, route, {}) not in {401, 403}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert load(GatewaySettings, {"GATEWAY_HOST": host}).gateway_host == host


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "10.0.0.1", "gateway.example", "0", "127.1", "::ffff:0.0.0.0", "fe80::1%lo", "localhost.example",  # noqa: S104
     "unix:/run/gateway.sock", "/run/gateway.sock", "*", "127.0.0.1,0.0.0.0"],
)  # fmt: skip
def test_any_other_host_needs_keys(host: str) -> None:
    with pytest.raises(SettingsError, match=r"JOIN_KEYS, ADMIN_KEYS.*GATEWAY_HOST"):
        load(GatewaySettings, {"GATEWAY_HOST": host})
    assert load(GatewaySettings, {"GATEWAY_HOST": host, "JOIN_KEYS": f"{LONG}1, {LONG}2"}).join_keys
    assert load(GatewaySettings, {"GATEWAY_HOST": host, "ADMIN_KEYS": LONG}).admin_keys == (LONG,)
    assert load(GatewaySettings, {"GATEWAY_HOST": host, "GATEWAY_WITHOUT_KEYS": "1"}).join_keys == ()
