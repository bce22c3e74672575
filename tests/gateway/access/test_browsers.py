"""A web page of another site can make its reader's browser send requests, but not start sessions here."""

from collections.abc import AsyncIterator

import pytest

from services.gateway.settings import GatewaySettings
from shared.contract import LAUNCH
from shared.errors import SettingsError
from shared.redis.connection import Redis
from shared.settings import load
from tests.gateway.conftest import Gateway, StartGateway

OURS = ["localhost", "localhost:4444", "LocalHost:4444", "127.0.0.1:4444", "127.8.0.1", "[::1]:4444", "[::1]"]
THEIRS = ["evil.example", "evil.example:4444", "localhost.evil.example", "10.0.0.1:4444", "0.0.0.0:4444", "[::2]:4444",
          "localhost:4444:1", "127.0.0.1.evil.example", "evil.example@localhost", "[localhost", "",
          "[::1]evil.example"]  # fmt: skip
PAGES = ["/", "/client/", "/schema", "/status", "/fleet"]
PROBES = ["/healthz", "/readyz"]
KEY = {"Authorization": "Bearer key"}


@pytest.mark.parametrize("host", OURS)
async def test_without_keys_this_machine_is_served_under_its_own_names(gateway: Gateway, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    answer = await gateway.http.post("/join", json={"transport": "none"}, headers=headers)
    assert answer.status_code == 202
    assert (await gateway.http.get("/client/", headers=headers)).status_code == 200


@pytest.mark.parametrize("host", THEIRS)
async def test_without_keys_a_name_that_was_pointed_at_this_machine_is_refused(
    gateway: Gateway, redis: Redis, host: str
) -> None:
    """DNS rebinding: the page's own domain leads to 127.0.0.1, so that to the browser it is the same site."""
    headers = {"Host": host, "Origin": f"http://{host}"}
    answer = await gateway.http.post("/join", json={"transport": "none"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    assert "localhost" in answer.json()["error"]
    assert await redis.xlen(LAUNCH) == 0
    for path in PAGES:
        assert (await gateway.http.get(path, headers={"Host": host})).status_code == 403


@pytest.mark.parametrize("keys", [(), ("key",)])
async def test_a_probe_is_answered_by_any_name_with_keys_and_without(
    gateway_with: StartGateway, keys: tuple[str, ...]
) -> None:
    """A kubelet calls by the Pod's address, and has no key."""
    async with gateway_with(join_keys=keys) as gateway:
        for path in PROBES:
            answer = await gateway.http.get(path, headers={"Host": "10.0.0.7:4444"})
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://localhost:3000", "http://localhost", "null", "", "http://127.0.0.1:4444",
     "http://localhost:4444.evil.example"],
)  # fmt: skip
async def test_without_keys_a_page_from_elsewhere_is_refused(gateway: Gateway, redis: Redis, origin: str) -> None:
    headers = {"Host": "localhost:4444", "Origin": origin}
    for method, path in (("POST", "/join"), ("POST", "/dead/1-0/redrive"), ("DELETE", "/sessions/x")):
        body = {"transport": "none"} if path == "/join" else None
        answer = await gateway.http.request(method, path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
        assert "other sites" in answer.json()["error"]
    assert await redis.xlen(LAUNCH) == 0


async def test_with_keys_the_key_is_enough_under_any_name(gateway_with: StartGateway) -> None:
    headers = {"Host": "bots.example", "Origin": "https://app.example"}
    async with gateway_with(join_keys=("key",)) as gateway:
        for more, status in ((KEY, 202), ({}, 401)):
            answer = await gateway.http.post("/join", json={"transport": "none"}, headers={**headers, **more})
            assert answer.status_code == status


@pytest.mark.parametrize("keys", [(), ("key",)])
async def test_a_page_of_a_named_site_may_ask_and_read_the_answer(
    gateway_with: StartGateway, keys: tuple[str, ...]
) -> None:
    site, wanted = "http://localhost:5173", {"Access-Control-Request-Headers": "content-type,authorization"}
    async with gateway_with(join_keys=keys, cors_origins=(site, "https://app.example")) as gateway:
        asked = {"Origin": site, "Access-Control-Request-Method": "POST", **wanted}
        before = await gateway.http.options("/start", headers=asked)
        answer = await gateway.http.post("/start", json={}, headers={**KEY, "Origin": site})
        refused = await gateway.http.post("/start", json={"transport": "x"}, headers={**KEY, "Origin": site})
    assert (before.status_code, answer.status_code, refused.status_code) == (204, 200, 400)
    for one in (before, answer, refused):
        assert one.headers["Access-Control-Allow-Origin"] == site
        assert "Access-Control-Allow-Credentials" not in one.headers
    allowed = before.headers["Access-Control-Allow-Headers"].lower()
    assert {"content-type", "authorization"} <= {name.strip() for name in allowed.split(",")}


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:51730", "https://localhost:5173", "http://localhost:517", "https://evil.example", "null"],
)
async def test_naming_a_site_opens_nothing_to_another(gateway_with: StartGateway, redis: Redis, origin: str) -> None:
    async with gateway_with(cors_origins=("http://localhost:5173",)) as gateway:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        before = await gateway.http.options("/start", headers=asked)
        answer = await gateway.http.post("/start", json={}, headers={"Origin": origin})
    assert (before.status_code, answer.status_code) == (400, 403)
    assert not {"access-control-allow-origin"} & ({*before.headers} | {*answer.headers})
    assert await redis.xlen(LAUNCH) == 0


async def test_no_site_is_named_by_default(gateway: Gateway) -> None:
    answer = await gateway.http.get("/status", headers={"Origin": "http://localhost"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("keys", [(), ("key",)])
@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "json",
     "application/jsonp", "text/plain; application/json", None],
)  # fmt: skip
async def test_a_body_that_does_not_say_it_is_json_starts_nothing(
    gateway_with: StartGateway, redis: Redis, keys: tuple[str, ...], kind: str | None
) -> None:
    """A form of any site can send these three kinds without asking; its text can be JSON."""
    headers = KEY if kind is None else {**KEY, "Content-Type": kind}
    async with gateway_with(join_keys=keys) as gateway:
        for path in ("/join", "/start"):
            answer = await gateway.http.post(path, content=b'{"transport": "webrtc"}', headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (415, "NOT_JSON")
            assert "Content-Type: application/json" in answer.json()["error"]
    assert await redis.xlen(LAUNCH) == 0


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=x", "application/a+json"]
)
async def test_a_body_that_says_it_is_json_is_read(gateway: Gateway, kind: str) -> None:
    answer = await gateway.http.post("/join", content=b'{"transport": "none"}', headers={"Content-Type": kind})
    assert answer.status_code == 202


async def test_a_body_of_unannounced_length_needs_its_kind_too(gateway: Gateway) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"transport": "none"}'

    assert (await gateway.http.post("/join", content=pieces())).status_code == 415
    headers = {"Content-Type": "application/json"}
    assert (await gateway.http.post("/join", content=pieces(), headers=headers)).status_code == 202


async def test_a_request_without_a_body_needs_no_kind(gateway: Gateway) -> None:
    session_id = (await gateway.join())["session_id"]
    assert (await gateway.http.delete(f"/sessions/{session_id}")).status_code == 202
    assert (await gateway.http.post("/dead/1-0/redrive")).status_code == 404
    assert (await gateway.http.post("/join")).json()["code"] == "INVALID_BODY"


@pytest.mark.parametrize(
    "origins", ["http://localhost:5173/", "localhost:5173", "http://App.example", "null", "*", "https://*.example"]
)
def test_a_site_that_no_browser_would_name_so_is_refused_at_the_start(origins: str) -> None:
    """With a slash at its end a site was never allowed anything, without a word; and `null` is every sandboxed page."""
    with pytest.raises(SettingsError, match="CORS_ORIGINS: expected sites such as"):
        load(GatewaySettings, {"CORS_ORIGINS": f"https://app.example,{origins}"})


@pytest.mark.parametrize(
    "environ",
    [
        {"CORS_ORIGINS": "http://localhost:5173, https://app.example, capacitor://localhost, http://[::1]:80"},
        {"CORS_ORIGINS": "*", "JOIN_KEYS": "join"},
    ],
)
def test_sites_are_taken_as_browsers_name_them_and_with_keys_all_of_them(environ: dict[str, str]) -> None:
    assert load(GatewaySettings, environ).cors_origins
