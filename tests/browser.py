"""A real browser that reaches no other host, with a sound file for a microphone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright

from tests.machine import need

WAIT_MS = 30_000


_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@asynccontextmanager
async def browser_page(*arguments: str, **context: Any) -> AsyncIterator[Page]:
    """A page in a browser of its own; `context` is what Playwright's `new_context` takes."""
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=need("chromium"), args=[*_ARGUMENTS, *arguments]) as browser,
        await browser.new_context(**context) as made,
    ):
        made.set_default_timeout(WAIT_MS)
        yield await made.new_page()


@asynccontextmanager
async def blank_page(microphone: Path, permission: str = "accept") -> AsyncIterator[Page]:
    """A page in a browser of its own, whose microphone says this again and again."""
    async with browser_page(
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-device-for-media-stream",
        f"--use-fake-ui-for-media-stream={permission}",
        f"--use-file-for-fake-audio-capture={microphone}",
    ) as page:
        yield page
