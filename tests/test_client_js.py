"""Pipecat's published JavaScript client in a real browser, on a page of a site of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from playwright.async_api import Page

from shared.contract import Running
from tests.browser import blank_page
from tests.client_bundle import bundle
from tests.conftest import StartFleet
from tests.fakes.openai_api import fake_openai
from tests.processes import ROOT
from tests.speech import silence, speech, write_wav

VOICE_AGENT = ROOT / "tests" / "bots_of_others" / "voice_agent.py"
HEARD = 0.05
"""The fake voice hums at a quarter of full scale; silence is next to nothing."""


@asynccontextmanager
async def site() -> AsyncIterator[str]:
    """Serves the page; gives its origin."""
    script = bundle()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text='<script type="module" src="/bundle.js"></script>', content_type="text/html")

    async def code(_: web.Request) -> web.Response:
        return web.Response(text=script, content_type="text/javascript")

    application = web.Application()
    application.router.add_get("/", page)
    application.router.add_get("/bundle.js", code)
    server = web.AppRunner(application)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{server.addresses[0][1]}"
    finally:
        await server.cleanup()


async def happened(page: Page, what: str, **data: Any) -> None:
    """Returns when the client has told this, with at least these data."""
    test = """([what, data]) => call.happened.some((one) => one.what === what &&
        Object.entries(data).every(([name, value]) => one.data[name] === value))"""
    await page.wait_for_function(test, arg=[what, data], polling=50)


async def test_the_published_client_starts_a_bot_talks_with_it_and_hangs_up(
    fleet_of: StartFleet, tmp_path: Path
) -> None:
    microphone = tmp_path / "microphone.wav"
    write_wav(microphone, silence(2), speech("Thank you very much."), silence(8))
    async with fake_openai() as model, site() as origin:
        model.heard.append("Thank you.")
        bots = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "sk-test", "CORS_ORIGINS": origin}
        async with (
            fleet_of(bot=VOICE_AGENT, slots=1, operator=False, **bots) as fleet,
            blank_page(microphone) as page,
        ):
            await page.goto(origin)
            async with page.expect_response("**/start") as answer:
                endpoint = f"{fleet.http.base_url}/start"
                await page.evaluate("(endpoint) => call.client.startBotAndConnect({ endpoint })", endpoint)
            session_id = str((await (await answer.value).json())["sessionId"])
            await happened(page, "bot ready")
            await fleet.event(session_id, Running)

            asked = await page.evaluate("call.client.sendClientRequest('count', { number: 41 })")
            assert asked == {"answer": 42}
            await happened(page, "server message", asked="count")

            await happened(page, "user transcript", text="Thank you.")
            await model.until_spoken("You said: Thank you.")
            await page.wait_for_function("level => call.level > level", arg=HEARD, polling=50)
            assert model.transcribed[0] > 10_000

            await page.evaluate("call.client.sendText('And in writing.')")
            await model.until_spoken("You said: And in writing.")
            await happened(page, "bot text")

            await page.evaluate("call.client.disconnect()")
            await happened(page, "disconnected")
            session = await fleet.until_status(session_id, "ended", "failed")
            problems = await page.evaluate("call.happened.filter((one) => one.what === 'error')")
    assert (session["status"], session["reason"], problems) == ("ended", "completed", [])
