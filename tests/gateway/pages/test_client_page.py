"""The page's transport is given our media, or stays as it was made."""

import re
from pathlib import Path
from typing import Any, cast
from urllib.parse import urljoin

import httpx
import pytest
from litestar import Litestar
from structlog.testing import capture_logs

from services.gateway.pages.client_page import (
    KEY,
    LOCAL_MEDIA,
    UnexpectedPageError,
    client_page,
    page_directory,
    with_agent_and_key,
    with_local_media,
)
from tests.gateway.conftest import Gateway, StartGateway

OURS = LOCAL_MEDIA.read_text()
THEIRS = """import{_ as e}from"./index-1.js";import{t as m}from"./daily-esm-p5U.js";\
this._daily=m.getCallInstance()??m.createCallObject(),this._daily.on(`track-started`,f);this._daily.leave()\
//SmallWebRTCMediaManager"""


START = "startBotParams:{endpoint:`/start`"


def packaged(mark: str = "SmallWebRTCMediaManager") -> Path:
    """The transport's script in the package, or another one that has the mark."""
    (file,) = (f for f in (page_directory() / "assets").glob("*.js") if mark in f.read_text())
    return file


def test_the_packaged_transport_is_changed_in_its_import_of_daily_and_nowhere_else() -> None:
    theirs = packaged().read_text()
    ours = with_local_media(theirs, OURS)
    assert "daily-esm" not in ours
    changed = 'import{LocalMediaCall as m}from"../local_media.js"'
    assert ours.count(changed) == 1
    assert ours.replace(changed, re.findall(r'import\{t as m\}from"\./daily-esm[^"]*"', theirs)[0]) == theirs


async def test_the_gateway_serves_the_changed_transport_and_the_media_that_it_names(gateway: Gateway) -> None:
    path = f"/client/assets/{packaged().name}"
    answer = await gateway.http.get(path)
    assert answer.text == with_local_media(packaged().read_text(), OURS)
    named = [name for name in re.findall(r'from"([^"]+)"', answer.text) if "local_media" in name]
    media = await gateway.http.get(urljoin(path, named[0]))
    assert media.text == OURS
    for script in (answer, media):
        assert script.headers["content-type"].startswith("text/javascript")
        assert script.headers["cache-control"] == "no-cache"


async def test_other_transports_keep_daily(gateway: Gateway) -> None:
    scripts = [file for file in (page_directory() / "assets").glob("*.js") if file != packaged()]
    with_daily = [file for file in scripts if '"./daily-esm' in file.read_text()]
    assert with_daily
    for file in with_daily:
        if START in file.read_text():
            continue
        assert (await gateway.http.get(f"/client/assets/{file.name}")).content == file.read_bytes()


async def test_the_gateway_serves_a_page_whose_sessions_are_of_the_agent_in_its_address_and_which_sends_a_key(
    gateway: Gateway,
) -> None:
    file = packaged(START)
    answer = await gateway.http.get(f"/client/assets/{file.name}")
    assert answer.text == with_agent_and_key(file.read_text())
    changed = "endpoint:`/start`+location.search"
    assert answer.text.count(changed) > 0
    (key,) = re.findall(r'^import"([^"]+)";', answer.text)
    theirs = answer.text.removeprefix(f'import"{key}";').replace(changed, "endpoint:`/start`")
    assert theirs == file.read_text()
    served = await gateway.http.get(urljoin(f"/client/assets/{file.name}", key))
    assert served.text == KEY.read_text()


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/client", "/client/?agent=sales"),
        ("/client/", "/client/?agent=sales"),
        ("/client/?x=1", "/client/?x=1&agent=sales"),
        ("/client?agent=support", "/client/?agent=support"),
        ("/client/?agent=support", None),
        ("/client/favicon.svg", None),
    ],
)
async def test_without_a_default_bot_the_page_is_that_of_the_first_agent_unless_its_address_names_one(
    gateway_with: StartGateway, path: str, location: str | None
) -> None:
    async with gateway_with(bots="sales=sales.py,support=support.py") as gateway:
        answer = await gateway.http.get(path)
        assert (answer.status_code, answer.headers.get("location")) == (302 if location else 200, location)


async def test_with_a_default_bot_the_page_is_its_own_unless_its_address_names_an_agent(
    gateway_with: StartGateway,
) -> None:
    async with gateway_with(bot="bot.py", bots="sales=sales.py") as gateway:
        assert (await gateway.http.get("/client/")).status_code == 200
        assert (await gateway.http.get("/client")).headers["location"] == "/client/"
        assert (await gateway.http.get("/client?agent=sales")).headers["location"] == "/client/?agent=sales"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("{t as m}", "{t as m,u as n}", "a way not known"),
        ("./daily-esm-p5U.js", "./media-p5U.js", "a way not known"),
        ("m.getCallInstance()??m", "m", "a way not known"),
        ("_daily.leave()", "_daily.leave(),this._daily.setBandwidth(1)", "needs setBandwidth of Daily"),
        ("`track-started`", "`network-quality-change`", "needs network-quality-change of Daily"),
    ],
)
def test_a_transport_that_uses_daily_in_another_way_is_not_changed(before: str, after: str, reason: str) -> None:
    assert with_local_media(THEIRS, OURS) != THEIRS
    assert before in THEIRS
    with pytest.raises(UnexpectedPageError, match=reason):
        with_local_media(THEIRS.replace(before, after), OURS)


@pytest.mark.parametrize("scripts", [[], [THEIRS, THEIRS], [THEIRS.replace("_daily.leave", "_daily.depart")]])
async def test_a_page_that_is_not_as_expected_is_served_as_it_is_with_a_warning(
    scripts: list[str], tmp_path: Path
) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("the page")
    for number, script in enumerate(scripts):
        (tmp_path / "assets" / f"{number}.js").write_text(script)
    with capture_logs() as logs:
        app = Litestar([client_page([""], tmp_path)], openapi_config=None)
    assert {(line["event"], line["log_level"]) for line in logs} == {("client_page_unexpected", "warning")}
    assert len(logs) == 2
    async with httpx.AsyncClient(transport=httpx.ASGITransport(cast("Any", app)), base_url="http://gateway") as http:
        assert (await http.get("/client/")).text == "the page"
        for number, script in enumerate(scripts):
            assert (await http.get(f"/client/assets/{number}.js")).text == script


def test_the_packaged_page_is_as_expected() -> None:
    with capture_logs() as logs:
        client_page([""])
    assert logs == []
