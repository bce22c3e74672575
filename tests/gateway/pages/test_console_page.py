"""What of the console is seen without a browser: its files, and the headers that they come with."""

import re

import pytest

from services.gateway.pages.console_page import FOLDER
from services.gateway.pages.headers import console_headers
from tests.gateway.conftest import Gateway, StartGateway

FILES = sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("path", ["/", *(f"/console/{name}" for name in FILES)])
async def test_a_file_of_the_console_needs_no_key_and_may_reach_nothing_but_the_gateway(
    gateway_with: StartGateway, path: str
) -> None:
    async with gateway_with(admin_keys=("key",)) as gateway:
        assert (await gateway.http.get("/fleet")).status_code == 401
        answer = await gateway.http.get(path)
    assert answer.status_code == 200
    assert answer.headers.items() >= console_headers().items()
    assert answer.headers["cache-control"] == "no-cache"
    policy = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
    assert (policy["connect-src"], policy["frame-ancestors"], policy["form-action"]) == ("'self'", "'none'", "'none'")


async def test_all_that_the_consoles_files_name_is_there_and_on_the_gateway(gateway: Gateway) -> None:
    for name in FILES:
        text = (FOLDER / name).read_text()
        named = re.findall(r'(?:src|href)="([^"#]+)"|from "([^"]+)"|url\(([^)]+)\)', text)
        for found in ("".join(groups) for groups in named):
            assert found.startswith("/"), f"{name} names {found}"
            assert (await gateway.http.get(found)).status_code == 200, f"{name} names {found}"
        hosts = re.findall(r"https?://[^\s\"'`]+", text)
        assert [host for host in hosts if host != "http://www.w3.org/2000/svg"] == []


def test_the_console_puts_nothing_into_the_page_but_elements_and_text() -> None:
    for name in FILES:
        text = (FOLDER / name).read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", text
        )
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text), name


async def test_what_is_not_the_consoles_is_not_there(gateway: Gateway) -> None:
    for path in ("/console/", "/console/other.js", "/console/..%2fauth.py", "/console/../auth.py"):
        assert (await gateway.http.get(path)).status_code == 404
