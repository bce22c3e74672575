import re
import sys
from typing import Any

import pytest

from services.gateway.join import ORIGINAL
from services.gateway.pages.client_page import PACKAGE, page_directory, with_agent_and_key
from tests.gateway.conftest import Gateway


async def test_the_way_to_the_page_ends_with_a_slash(gateway: Gateway) -> None:
    answer = await gateway.http.get("/client")
    assert (answer.status_code, answer.headers["location"]) == (302, "/client/")


async def test_the_page_and_all_it_names_are_served(gateway: Gateway) -> None:
    page = await gateway.http.get("/client/")
    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="\./([^"]+)"', page.text)
    assert len(named) >= 3
    for name in named:
        answer = await gateway.http.get(f"/client/{name}")
        assert answer.status_code == 200
        is_script, packaged = name.endswith(".js"), (page_directory() / name).read_bytes()
        assert answer.content == (with_agent_and_key(packaged.decode()).encode() if is_script else packaged)
        if is_script:
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


Document = dict[str, Any]


@pytest.fixture
async def document(gateway: Gateway) -> Document:
    found: Document = (await gateway.http.get("/schema")).json()
    return found


def operations(document: Document) -> dict[str, Document]:
    return {
        f"{method} {path}": operation for path, item in document["paths"].items() for method, operation in item.items()
    }


def examples(response: Document) -> list[Any]:
    return [example["value"] for example in response["content"]["application/json"]["examples"].values()]


def test_every_success_has_an_example_with_all_that_its_answer_always_has(document: Document) -> None:
    for name, operation in operations(document).items():
        good = {status: response for status, response in operation["responses"].items() if int(status) < 300}
        assert good, name
        for status, response in good.items():
            if "text/event-stream" in response.get("content", {}):
                assert response["content"]["text/event-stream"]["examples"], name
            elif status != "204":
                schema = response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                for example in examples(response):
                    assert set(document["components"]["schemas"][schema]["required"]) <= example.keys(), name


@pytest.mark.parametrize(
    ("route", "statuses"),
    [
        ("post /join", {"200", "202", "400", "401", "409", "413", "415", "429", "503"}),
        ("post /admin", {"200", "202", "207", "400", "401", "403", "404", "413", "415", "429", "503"}),
        ("get /sessions/{session_id}", {"200", "401", "403", "404", "429", "503"}),
        ("get /sessions/{session_id}/events", {"200", "204", "400", "401", "403", "404", "429", "503"}),
        ("get /events", {"200", "400", "401", "403", "429", "503"}),
        ("delete /dead/{letter_id}", {"204", "401", "403", "404", "429", "503"}),
        ("get /readyz", {"200", "503"}),
        ("get /healthz", {"200"}),
    ],
)
def test_a_route_documents_the_statuses_that_it_answers_with(
    document: Document, route: str, statuses: set[str]
) -> None:
    assert set(operations(document)[route]["responses"]) == statuses


def test_keys_are_documented_exactly_where_they_are_needed(document: Document) -> None:
    free = {name for name, operation in operations(document).items() if operation.get("security") == []}
    assert free == {"get /healthz", "get /readyz", "get /status"}
    assert free == {name for name, operation in operations(document).items() if "401" not in operation["responses"]}


def test_headers_are_documented(document: Document) -> None:
    for name, operation in operations(document).items():
        for status, response in operation["responses"].items():
            headers = set(response.get("headers", {}))
            if status in {"429", "503"} or (status == "409" and name in {"post /join", "post /start"}):
                assert headers == {"Retry-After"}, (name, status)
            elif status == "401":
                assert headers == {"WWW-Authenticate"}
            elif status in {"200", "202"} and name in {"post /join", "post /dead/{letter_id}/redrive"}:
                assert headers == {"Location"}, (name, status)


def test_an_example_of_an_error_fits_its_route(document: Document) -> None:
    routes = operations(document)
    assert examples(routes["post /dead/{letter_id}/redrive"]["responses"]["404"])[0]["error"] == (
        "There is no such dead letter."
    )
    rooms = [name for name, operation in routes.items() if "room_url: must be given" in str(operation["responses"])]
    assert rooms == ["post /join", "post /start", "post /v1/public/{agent}/start"]


def test_an_operation_has_a_sentence_as_summary_and_a_name_of_its_own(document: Document) -> None:
    routes = operations(document)
    assert routes["post /join"]["summary"] == "Put a bot into a room"
    assert routes["post /join"]["operationId"] == "join"
    for name, operation in routes.items():
        assert " " in operation["summary"], name
        assert operation["description"].startswith(operation["summary"]), name
    own = [operation for operation in routes.values() if not operation["operationId"].endswith("_of_agent")]
    assert len({operation["summary"] for operation in own}) == len(own) < len(routes)


def test_a_joins_own_fields_come_first_and_each_of_the_originals_says_where_it_goes(document: Document) -> None:
    fields = document["components"]["schemas"]["JoinRequest"]["properties"]
    assert list(fields)[:4] == ["room_url", "token", "body", "transport"]
    assert [name for name in fields if name in {field.encode_name for field in ORIGINAL}] == list(fields)[8:]
    assert {fields[name]["description"] for name in list(fields)[8:]} == {
        "Passed to the bot inside `body` under this name."
    }


async def test_the_documentation_is_served_as_yaml_and_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    answer = await gateway.http.get("/schema/openapi.yaml")
    assert answer.status_code == 200
    assert "openapi: 3" in answer.text
    for path in ("/schema", "/schema/openapi.yaml"):
        assert "cdn" not in (await gateway.http.get(path)).text.lower()


async def test_the_yaml_is_written_once_however_many_ask_for_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four requests a second for it, without a key, kept a gateway from serving anybody else."""
    before = (await gateway.http.get("/schema/openapi.yaml")).text
    monkeypatch.setattr("yaml.dump", lambda *_, **__: pytest.fail("it was written again"))
    for name in ("openapi.yaml", "openapi.yml"):
        assert (await gateway.http.get(f"/schema/{name}")).text == before


def test_a_body_that_can_be_left_out_is_documented_so(document: Document) -> None:
    optional = {
        name
        for name, operation in operations(document).items()
        if "requestBody" in operation and not operation["requestBody"]["required"]
    }
    assert optional == {"post /start", "post /v1/public/{agent}/start"}
