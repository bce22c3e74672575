"""The console in a real browser, and what its user does and sees."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from playwright.async_api import Locator, Page

from tests.browser import browser_page
from tests.waiting import LOOK_EVERY_S

_ROWS = """rows => rows.map(row => {
    const [id, state, attempt, room, runner] = [...row.children].map(cell => cell.textContent);
    return { id, state, attempt: Number(attempt), room, runner };
})"""
_FIGURES = "figures => Object.fromEntries(figures.map(one => [one.dataset.name, one.lastElementChild.textContent]))"


class Console:
    """The page, and what went wrong in it."""

    def __init__(self, page: Page, http: httpx.AsyncClient) -> None:
        self.page = page
        self.http = http
        self.problems: list[str] = []
        """Errors in the browser's console, and exceptions; also whatever the page's own policy forbade."""
        self.requests: list[str] = []
        """Method and address of all that the page has asked for."""
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda line: self.problems.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: self.requests.append(f"{request.method} {request.url}"))

    async def open(self) -> None:
        await self.page.goto(str(self.http.base_url))

    async def live(self) -> None:
        """Returns when the page follows the events."""
        await self.page.get_by_role("status").filter(has_text="Live").wait_for()

    async def rows(self) -> list[dict[str, Any]]:
        """The sessions as they are shown."""
        return list(await self.page.locator("#rows tr").evaluate_all(_ROWS))

    async def figures(self) -> dict[str, str]:
        return dict(await self.page.locator("#now [data-name]").evaluate_all(_FIGURES))

    def row(self, text: str) -> Locator:
        """The row of a session that has this somewhere."""
        return self.page.locator("#rows tr").filter(has_text=text)

    async def differences(self) -> list[str]:
        """Where the page says something else than `GET /sessions` and `GET /fleet`."""
        try:
            sessions = (await self.http.get("/sessions?limit=1000")).json()["sessions"]
            fleet = (await self.http.get("/fleet")).json()
        except httpx.TransportError as error:
            return [f"the gateway does not answer: {error}"]
        said = [(row["id"], row["state"], row["attempt"], row["runner"]) for row in await self.rows()]
        live = {row for row in said if row[1].split(":")[0] not in {"ended", "failed"}}
        true = {(one["session_id"], _state(one), one["attempt"], _runner(one)) for one in sessions}
        wrong = [f"shown and not so: {row}" for row in live - true] + [f"not shown: {row}" for row in true - live]
        figures = await self.figures()
        counted = {
            "In their rooms": fleet["running"],
            "Queued": fleet["queued"],
            "Runners": len(fleet["runners"]),
            "Slots": fleet["slots"],
            "Busy": fleet["busy"],
            "Free": fleet["free"],
        }
        wrong += [f"{name}: {figures.get(name)}, not {n}" for name, n in counted.items() if figures.get(name) != str(n)]
        slots = await self.page.locator("#runners .slot.running").count()
        return wrong + ([f"{slots} slots in a room"] if slots != fleet["running"] else [])

    async def until_it_agrees(self, within_s: float = 20.0) -> None:
        """Returns when there is no difference."""
        found: list[str] = []
        try:
            async with asyncio.timeout(within_s):
                while found := await self.differences():
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise AssertionError(f"after {within_s} s the page differs: {found}") from None

    def hosts(self) -> set[str]:
        """Where the page has been."""
        return {urlsplit(request.partition(" ")[2]).netloc for request in self.requests}

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def focus_by_tab(self, wanted: Locator, most: int = 300) -> None:
        """Go to an element with the Tab key alone."""
        for _ in range(most):
            if await wanted.evaluate("node => node === document.activeElement"):
                return
            await self.page.keyboard.press("Tab")
        raise AssertionError(f"the Tab key does not lead to {wanted}")


def _state(session: dict[str, Any]) -> str:
    status = str(session["status"])
    if session["leaving"]:
        return f"{status}, leaving"
    return f"{status}: {session['reason']}" if session["reason"] else status


def _runner(session: dict[str, Any]) -> str:
    cold = " (cold)" if session["start"] == "cold" else ""
    return f"{session['runner']}{cold}" if session["runner"] else ""


@asynccontextmanager
async def console_of(http: httpx.AsyncClient, **context: Any) -> AsyncIterator[Console]:
    """The console of this gateway, open in a browser of its own."""
    async with browser_page(**context) as page:
        console = Console(page, http)
        await console.open()
        yield console
