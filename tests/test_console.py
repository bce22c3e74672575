"""The console at `/` in a real browser, beside a live fleet in which things die."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shared.contract import EVENTS, Ended, Failed, Reason, Running
from shared.launches import Launches, decode
from shared.presence import announce
from shared.redis.connection import Redis
from tests.conftest import StartFleet
from tests.console import console_of
from tests.gateway.fleet.test_routes import a_runner
from tests.gateway.stand_in_runner import StandInRunner
from tests.gateway.test_process import started
from tests.launching import SCRIPTED, offer, records
from tests.processes import Children


@pytest.fixture
async def runner(redis: Redis) -> AsyncIterator[StandInRunner]:
    """The runner's side, in the test's hands."""
    stand_in = StandInRunner(redis, "runner-1")
    yield stand_in
    await stand_in.inbox.aclose()


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
        await console.until_it_agrees()
        assert console.problems == []


async def test_with_keys_the_console_asks_for_one_and_shows_what_others_wrote_as_text(
    children: Children, redis: Redis
) -> None:
    async with started(children, JOIN_KEYS="join-key", ADMIN_KEYS="admin-key") as (_, http):
        http.headers["Authorization"] = "Bearer admin-key"
        attack = "<img src=/x onerror=window.hacked=1>"
        wish = {"transport": "none", "labels": {attack: attack}}
        joined = (await http.post("/join", json=wish)).json()
        runner = StandInRunner(redis, attack)
        await announce(redis, a_runner(attack, slots=1, busy=1, free=0, running=1, error=attack))
        claim = await runner.starting()
        async with console_of(http) as console:
            page = console.page
            for key, answer in (("wrong-key", "A key is needed"), ("join-key", "This key may start sessions only.")):
                await page.get_by_label("Admin key").fill(key)
                await console.press("Enter")
                await page.locator("#key-why").filter(has_text=answer).wait_for()
            assert not await page.locator("#fleet").is_visible()
            await page.get_by_label("Admin key").fill("admin-key")
            await console.press("Enter")
            await console.live()
            await console.row(joined["session_id"]).get_by_role("button").click()
            await page.locator("#session-timeline li.starting").wait_for()
            await runner.fail(claim, Reason.BOT_ERROR, attack)
            await page.locator("#session-timeline li.failed").filter(has_text=attack).wait_for()
            await page.locator("#dead > li").filter(has_text=attack).wait_for()
            await page.locator("#runners li").filter(has_text=attack).wait_for()
            assert await page.locator("#session-facts").filter(has_text=f"{attack}:{attack}").count() == 1
            assert await page.locator("img").count() == 0
            assert await page.evaluate("window.hacked") is None
            assert await page.evaluate("[Object.values(sessionStorage), localStorage.length, document.cookie]") == [
                ["admin-key"], 0, "",
            ]  # fmt: skip
            assert not [request for request in console.requests if "-key" in request]
            assert console.hosts() == {http.base_url.netloc.decode()}
            assert [line for line in console.problems if "401" not in line and "403" not in line] == []


async def test_after_a_restart_of_the_gateway_the_console_goes_on_where_it_was_and_asks_for_nothing_again(
    children: Children, redis: Redis, runner: StandInRunner
) -> None:
    async with started(children) as (gateway, http):
        port = str(http.base_url.port)
        await http.post("/join", json={"transport": "none"})
        async with console_of(http) as console:
            await console.live()
            await console.row("queued").wait_for()
            gateway.kill()
            await gateway.wait()
            await console.page.get_by_role("status").filter(has_text="Disconnected").wait_for()
            claim = await runner.running()
            await runner.lose(claim, Reason.BOT_DIED)
            second = children.service("gateway", GATEWAY_PORT=port, LOG_FORMAT="json")
            await console.live()
            await console.row("queued: bot_died").wait_for()
            await console.until_it_agrees()
            asked = [urlsplit(line.partition(" ")[2]).path for line in console.requests]
            once = [path for path in asked if path in {"/fleet", "/sessions", "/dead"}]
            assert sorted(once) == ["/dead", "/fleet", "/sessions"]

            # What the feed has lost meanwhile is the one thing to ask for again.
            second.kill()
            await second.wait()
            await runner.end(await runner.running(), Reason.COMPLETED)
            await offer(redis)
            await redis.xtrim(EVENTS, maxlen=1, approximate=False)
            children.service("gateway", GATEWAY_PORT=port, LOG_FORMAT="json")
            await console.until_it_agrees()


async def test_events_are_the_same_however_the_network_cuts_them(children: Children) -> None:
    text = 'retry: 2000\nid: 1-0_0-0\n:\n\nid: 2-0_0-0\nevent: running\ndata: {"a":": b"}\n\nevent: fleet\ndata: {}\n\n'
    async with started(children) as (_, http), console_of(http) as console:
        found = await console.page.evaluate(
            """async text => {
                const { parser } = await import("/console/events.js");
                const read = length => {
                    const events = [];
                    const parse = parser(event => events.push(event));
                    for (let at = 0; at < text.length; at += length) parse(text.slice(at, at + length));
                    return events;
                };
                return [1, 2, 3, 7, text.length].map(read);
            }""",
            text,
        )
    assert found[0] == [
        {"id": "1-0_0-0", "type": "message", "data": ""},
        {"id": "2-0_0-0", "type": "running", "data": '{"a":": b"}'},
        {"id": "", "type": "fleet", "data": "{}"},
    ]
    assert all(one == found[0] for one in found)


@pytest.mark.slow
async def test_what_the_console_shows_is_so_while_bots_and_a_runner_are_killed(
    fleet_of: StartFleet, record: Path
) -> None:
    env = {"BOT_RECORD": str(record), "MAX_ATTEMPTS": "3"}
    async with (
        fleet_of(bot=SCRIPTED, runners=2, slots=3, operator=False, **env) as fleet,
        console_of(fleet.http) as console,
    ):
        await console.live()
        joined = [await fleet.join(wait_s=20, transport="none", body={"do": "stay"}) for _ in range(4)]
        await console.until_it_agrees()
        os.kill(records(record)[0].pid, signal.SIGKILL)
        await fleet.event(joined[0]["session_id"], Running, attempt=2)
        doomed = await fleet.join(transport="none", body={"do": "be killed"})
        await fleet.event(doomed["session_id"], Failed, attempt=3)
        await console.until_it_agrees()

        lost = fleet.runners.pop()
        lost.kill()
        await console.until_it_agrees()
        await fleet.until_counted(running=3)
        for _ in range(3):
            await fleet.join(transport="none", body={"do": "stay"})
        await fleet.until_counted(slots=3, busy=3, queued=4)
        await console.until_it_agrees()
        for session in (await fleet.http.get("/sessions")).json()["sessions"]:
            await fleet.http.delete(f"/sessions/{session['session_id']}")
        await fleet.until_counted(busy=0, queued=0)
        await console.until_it_agrees()
        rows = await console.rows()
        assert {row["state"].split(":")[0] for row in rows} == {"ended", "failed"}
        assert len(rows) == 8
        for row in rows:
            session = await fleet.session(row["id"])
            assert (row["state"], row["attempt"]) == (f"{session['status']}: {session['reason']}", session["attempt"])
        assert console.problems == []


@pytest.mark.slow
async def test_of_ten_thousand_sessions_two_hundred_are_shown_and_of_those_that_are_over_the_last_are_kept(
    children: Children, redis: Redis, tell: Callable[..., None]
) -> None:
    for _ in range(100):
        await asyncio.gather(*(offer(redis, labels={"half": str(n % 2)}) for n in range(100)))
    launches = Launches(redis)
    async with started(children) as (_, http), console_of(http) as console:
        began = time.monotonic()
        await console.live()
        await console.page.locator("#shown").filter(has_text="showing 200 of 10000").wait_for()
        shown_s = time.monotonic() - began
        assert await console.page.locator("#rows tr").count() == 200
        began = time.monotonic()
        await console.page.get_by_role("searchbox").fill("half:1")
        await console.page.locator("#shown").filter(has_text="showing 200 of 5000").wait_for()
        filtered_s = time.monotonic() - began
        for entry, fields in await launches.live(1000):
            launch = decode(fields)
            over = Ended(session_id=launch.session_id, attempt=1, reason=Reason.LEFT)
            assert await launches.finish(entry, "", launch, over) == "finished"
        await console.page.get_by_role("searchbox").fill("")
        await console.page.locator("#shown").filter(has_text="showing 200 of 9500").wait_for()
        heap = await console.page.evaluate("performance.memory.usedJSHeapSize")
        tell(
            f"  shown after {shown_s:.1f} s, filtered in {filtered_s:.1f} s, {heap / 1e6:.0f} MB",
            under="10,000 sessions:",
        )
        assert filtered_s < 3
