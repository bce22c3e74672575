"""The console at `/` in a real browser, beside a live fleet in which things die."""

from pathlib import Path

import pytest

from shared.contract import Failed
from tests.conftest import StartFleet
from tests.console import console_of
from tests.launching import SCRIPTED
from tests.waiting import until


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record"


async def test_a_session_is_started_commanded_and_redriven_with_the_keyboard_alone(
    fleet_of: StartFleet, record: Path
) -> None:
    env = {"BOT_RECORD": str(record), "MAX_ATTEMPTS": "2"}
    async with fleet_of(bot=SCRIPTED, slots=2, operator=False, **env) as fleet, console_of(fleet.http) as console:
        await console.live()
        page = console.page
        await console.focus_by_tab(page.locator("#start [name=transport]"))
        await page.keyboard.type("none")
        await console.focus_by_tab(page.locator("#start [name=labels]"))
        await page.keyboard.type("team:a")
        await console.focus_by_tab(page.locator("#start [name=body]"))
        await page.keyboard.type('{"do": "be killed"}')
        await console.press("Tab", "Enter")
        await page.locator("#session-timeline li.failed").wait_for()
        [joined] = [row["id"] for row in await console.rows()]
        failed = await fleet.event(joined, Failed, attempt=2)
        shown = await page.locator("#session-timeline li strong").all_text_contents()
        assert shown == [event["type"] for event in (await fleet.session(joined))["timeline"]]
        assert failed.reason in await console.row(joined).inner_text()

        await page.locator("#dead > li").first.wait_for()
        await console.focus_by_tab(page.get_by_role("button", name=f"Redrive {joined}"))
        await console.press("Enter")
        await page.locator("#dead-said").filter(has_text=f"{joined} goes on as").wait_for()
        again = (await page.locator("#session-title").inner_text()).removeprefix("Session ")
        assert again != joined
        await page.locator("#session-timeline li.failed").wait_for()
        assert (await fleet.session(again))["redriven_from"] == joined

        staying = await fleet.join(wait_s=20, transport="none", body={"do": "stay"})
        await console.focus_by_tab(page.get_by_role("button", name=staying["session_id"]))
        await console.press("Enter")
        await page.locator("#session-timeline li.running").wait_for()
        await console.focus_by_tab(page.locator("#session-command"))
        await console.press("Enter")
        await page.keyboard.type("custom")
        await console.press("Tab")
        await page.keyboard.type('{"offer": 7}')
        await console.press("Tab", "Enter")
        await page.locator("#command output").filter(has_text="unhandled").wait_for()
        await page.locator("#session-timeline li.command").wait_for()
        await until(console.agrees)
        assert console.problems == []
