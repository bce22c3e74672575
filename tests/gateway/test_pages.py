import re
import sys
from typing import Any

import pytest

from services.gateway.client_page import PACKAGE, page_directory
from tests.gateway.conftest import Gateway


@pytest.mark.parametrize("path", ["/", "/client"])
async def test_the_way_to_the_page_ends_with_a_slash(gateway: Gateway, path: str) -> None:
    answer = await gateway.http.get(path)
    assert (answer.status_code, answer.headers["location"]) == (302, "/client/")


async def test_the_page_and_all_it_names_are_served(gateway: Gateway) -> None:
    page = await gateway.http.get("/client/")
    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="\./([^"]+)"', page.text)
    assert len(named) >= 3
    for name in named:
        answer = await gateway.http.get(f"/client/{name}")
        assert answer.status_code == 200
        assert answer.content == (page_directory() / name).read_bytes()
        if name.endswith(".js"):
            assert "javascript" in answer.headers["content-type"]


async def test_the_page_starts_its_session_where_we_serve_it() -> None:
    """The requests that the page makes are in its scripts; `/start` and its offers must be where they look."""
    scripts = "".join(file.read_text() for file in (page_directory() / "assets").glob("index*.js"))
    assert "endpoint:`/start`,requestData:{createDailyRoom:!1,enableDefaultIceServers:!0,transport:`webrtc`}" in scripts
    assert "replace(`/start`,`/sessions/${e}/api/offer`)" in scripts


def test_the_package_of_the_page_is_not_imported() -> None:
    page_directory()
    assert PACKAGE not in sys.modules


@pytest.mark.parametrize("path", ["/schema", "/schema/", "/schema/openapi.json"])
async def test_the_documentation_is_one_document(gateway: Gateway, path: str) -> None:
    document = (await gateway.http.get(path)).json()
    assert document["openapi"].startswith("3.")
    assert {"/join", "/leave", "/admin", "/fleet", "/sessions", "/sessions/{session_id}", "/start", "/healthz",
            "/sessions/{session_id}/api/offer"} <= set(document["paths"])  # fmt: skip


async def test_every_body_is_documented_with_an_example_and_every_error_in_our_shape(gateway: Gateway) -> None:
    document = (await gateway.http.get("/schema")).json()
    operations = [(path, operation) for path, item in document["paths"].items() for operation in item.values()]
    for path, operation in operations:
        body: Any = operation.get("requestBody", {}).get("content", {}).get("application/json")
        assert body is None or body["schema"].get("examples"), path
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                content = response["content"]["application/json"]
                assert content["schema"]["$ref"].endswith("ErrorBody"), (path, status)
                assert content["examples"], (path, status)


async def test_the_documentation_is_served_as_yaml_and_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    answer = await gateway.http.get("/schema/openapi.yaml")
    assert answer.status_code == 200
    assert "openapi: 3" in answer.text
    for path in ("/schema", "/schema/openapi.yaml"):
        assert "cdn" not in (await gateway.http.get(path)).text.lower()
