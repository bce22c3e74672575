"""How the console looks: what axe-core has to say of it, and the README's pictures (`make screenshots`)."""

import asyncio
import os
import random
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import StartFleet
from tests.console import console_of
from tests.launching import SCRIPTED
from tests.npm_packages import script_of
from tests.processes import ROOT, Fleet

EACH_KIND = ("be killed once", "be killed", "raise", "return", "stay")
KINDS = ("stay",) * 14 + ("return",) * 8 + ("be killed once",) * 2 + ("be killed", "raise")
AT_LEAST = 12
SIDE_BY_SIDE = 10
PAUSE_S = 3.0
VIEWPORT = {"width": 1200, "height": 900}
"""Of the pictures."""


def axe() -> str:
    """axe-core, as a page can load it."""
    return script_of(ROOT / "tests/axe_js", "node_modules/axe-core/axe.min.js")


async def load(fleet: Fleet, load_s: float) -> None:
    """Calls that come and go for so long, or some at once; a few end badly."""
    chance, staying = random.Random(8), list[str]()  # noqa: S311 - nothing is secret here
    ends_at = asyncio.get_running_loop().time() + load_s
    for number in count():
        if number > AT_LEAST and asyncio.get_running_loop().time() > ends_at:
            return
        what = EACH_KIND[number] if number < len(EACH_KIND) else chance.choice(KINDS)
        labels = {"team": chance.choice(["support", "sales"]), "tier": str(chance.randint(1, 3))}
        room = f"https://example.daily.co/room-{number}"
        joined = await fleet.join(transport="none", room_url=room, body={"do": what}, labels=labels)
        staying += [joined["session_id"]] if what in {"stay", "be killed once"} else []
        if len(staying) > SIDE_BY_SIDE:
            await fleet.http.delete(f"/sessions/{staying.pop(chance.randrange(len(staying)))}")
        if load_s:
            # Calls come as they come.
            await asyncio.sleep(chance.expovariate(1 / PAUSE_S))


async def fill(fleet: Fleet) -> None:
    """More sessions than there are free slots."""
    free = (await fleet.http.get("/fleet")).json()["free"]
    for number in range(free + 3):
        room = f"https://example.daily.co/group-{number}"
        await fleet.join(transport="none", room_url=room, body={"do": "stay"}, labels={"team": "events"})
    await fleet.until_counted(free=0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_the_console_of_a_busy_fleet_has_no_serious_accessibility_fault_light_or_dark(
    fleet_of: StartFleet, record: Path, tmp_path: Path
) -> None:
    """SCREENSHOT_S is for `make screenshots`: the README's pictures, after so many seconds of load."""
    load_s = float(os.environ.get("SCREENSHOT_S", "0"))
    folder = ROOT / "docs/images" if load_s else tmp_path
    env = {"BOT_RECORD": str(record), "MAX_ATTEMPTS": "2"}
    async with fleet_of(bot=SCRIPTED, runners=3, slots=4, operator=False, **env) as fleet:
        await load(fleet, load_s)
        await fill(fleet)
        for scheme in ("light", "dark"):
            async with console_of(fleet.http, color_scheme=scheme, viewport=VIEWPORT) as console:
                await console.live()
                await console.until_it_agrees()
                await console.page.screenshot(path=folder / f"console-{scheme}.png")
                await console.row("https://example.daily.co/room-1").get_by_role("button").first.click()
                await console.page.locator("#session-timeline li.queued").first.wait_for()
                await console.page.evaluate("document.getElementById('key-form').hidden = false")
                await console.page.evaluate(axe())
                found = await console.page.evaluate("axe.run()")
                faults = [one for one in found["violations"] if one["impact"] in {"serious", "critical"}]
                assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in faults] == []
                assert len(found["passes"]) > 20
                assert console.problems == []
            assert (folder / f"console-{scheme}.png").stat().st_size < 150_000
