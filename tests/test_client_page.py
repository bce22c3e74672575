"""The page at `/client/` in a real browser, which reaches no other host, with a sound file for a microphone."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Locator, Page, expect

from shared.contract import Running
from tests.browser import blank_page
from tests.conftest import StartFleet
from tests.processes import ROOT, Fleet
from tests.speech import silence, speech, write_wav

ASSISTANT = "services.runner.bots.assistant"
_SOUND = 0.02
"""Energy (mean square times seconds): the greeting has twenty times this, silence next to none."""

_EARS = """
window.calls = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) {
    super(...given);
    calls.push(this);
  }
};
// What the last connection has received and sent, and for how long that was silence.
window.sound = { looks: 0, heard: 0, level: 0, sent_silence_s: 0 };
let changed = {};
setInterval(async () => {
  const stats = calls.length ? [...(await calls.at(-1).getStats()).values()] : [];
  const of = (type) => stats.find((one) => one.type === type && one.kind === "audio") ?? {};
  const sent = of("media-source");
  if (sent.totalAudioEnergy !== changed.totalAudioEnergy) changed = sent;
  window.sound = {
    looks: sound.looks + 1,
    heard: of("inbound-rtp").totalAudioEnergy ?? 0,
    level: sent.audioLevel ?? 0,
    sent_silence_s: sent.totalSamplesDuration - changed.totalSamplesDuration,
  };
}, 50);
window.microphone = () => calls.at(-1).getSenders()[0].track;
"""


class Caller:
    """Somebody at the page."""

    def __init__(self, page: Page, fleet: Fleet) -> None:
        self.page = page
        self.fleet = fleet
        self.problems: list[str] = []
        """Errors in the console, and exceptions."""
        self.hosts: set[str] = set()
        """Where the page, and the connections that it made, have been."""
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda line: self.problems.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).netloc))

    async def open(self, agent: str = "") -> Self:
        await self.page.add_init_script(_EARS)
        await self.page.goto(f"{self.fleet.http.base_url}/client/{agent and f'?agent={agent}'}")
        await self.until_ready()
        return self

    async def until_ready(self) -> None:
        """Returns when "Connect" can be pressed: the button is there before, and does nothing."""
        await self.page.locator("[data-slot=connect-button][data-state=initialized]").wait_for()

    async def connect(self) -> str:
        """Press "Connect"; gives the session's id when the bot is there."""
        async with self.page.expect_response(re.compile("/start")) as answer:
            await self.button("Connect").click()
        session_id = str((await (await answer.value).json())["sessionId"])
        await self.button("Disconnect").wait_for()
        await self.fleet.event(session_id, Running)
        for server in await self.page.evaluate("calls.at(-1).getConfiguration().iceServers"):
            self.hosts.add(str(server["urls"]))
        return session_id

    async def disconnect(self) -> None:
        # The bot asks for a new offer as soon as it has come, and there must be somebody to answer that.
        await self.until("calls.at(-1).signalingState === 'stable'")
        await self.button("Disconnect").click()
        await self.button("Connect").wait_for()

    async def choose_microphone(self, name: str) -> None:
        await self.button("Audio devices").click()
        await self.page.get_by_role("menuitemcheckbox", name=name).click()
        await self.page.keyboard.press("Escape")

    async def heard(self) -> float:
        """Energy of what came out of the connection so far."""
        return float(await self.page.evaluate("sound.heard"))

    async def hears_sound(self, since: float = 0.0) -> None:
        """Returns when the bot is heard, after `heard` was `since`."""
        await self.until("least => sound.heard > least", since + _SOUND)

    async def is_heard(self) -> None:
        """Returns when the microphone's sound is sent, by what is seen from now on."""
        now = await self.page.evaluate("sound.looks")
        await self.until("now => sound.looks > now + 4 && sound.level > 0.01", now)

    async def is_silent(self) -> None:
        """Returns when nothing but silence was sent for longer than `a_talker` ever pauses."""
        await self.until("sound.sent_silence_s > 2")

    async def until(self, script: str, arg: Any = None) -> None:
        """Returns when the script, which must not be asynchronous, says yes in the page."""
        await self.page.wait_for_function(script, arg=arg, polling=50)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)


@asynccontextmanager
async def calling(fleet: Fleet, microphone: Path, permission: str = "accept", agent: str = "") -> AsyncIterator[Caller]:
    """The page, open in a browser whose microphone says this again and again."""
    async with blank_page(microphone, permission) as page:
        yield await Caller(page, fleet).open(agent)


def an_utterance(folder: Path) -> Path:
    """Somebody who lets the bot finish, says something, and waits for the answer."""
    file = folder / "utterance.wav"
    write_wav(file, silence(6), speech("Thank you very much."), silence(7))
    return file


def a_talker(folder: Path) -> Path:
    """Somebody who never pauses."""
    file = folder / "talker.wav"
    write_wav(file, speech("Thank you very much."))
    return file


async def test_a_caller_on_the_page_is_greeted_answered_and_hangs_up_and_no_other_host_is_asked(
    fleet_of: StartFleet, tmp_path: Path
) -> None:
    async with fleet_of(bot=ASSISTANT, slots=1) as fleet, calling(fleet, an_utterance(tmp_path)) as caller:
        session_id = await caller.connect()
        await caller.hears_sound()
        await caller.page.get_by_text("Hello, I am Pipefleet's assistant.").first.wait_for()
        await caller.page.get_by_text("You are welcome.").first.wait_for()
        await caller.hears_sound(since=await caller.heard())
        await caller.disconnect()
        session = await fleet.until_status(session_id, "ended", "failed")
        assert (session["status"], session["reason"]) == ("ended", "completed")
        assert caller.hosts == {fleet.http.base_url.netloc.decode()}
        assert caller.problems == []


@pytest.mark.slow
async def test_where_keys_are_wanted_the_page_leads_to_the_console_and_calls_with_the_key_entered_there(
    fleet_of: StartFleet, tmp_path: Path
) -> None:
    async with (
        fleet_of(bot=ASSISTANT, slots=1, JOIN_KEYS="join-key", ADMIN_KEYS="admin-key") as fleet,
        calling(fleet, a_talker(tmp_path)) as caller,
    ):
        await caller.button("Connect").click()
        await caller.page.get_by_role("alert").get_by_role("link", name="the console").click()
        await caller.page.get_by_label("Admin key").fill("admin-key")
        await caller.page.keyboard.press("Enter")
        await caller.page.get_by_role("status").filter(has_text="Live").wait_for()
        await caller.page.get_by_role("link", name="Talk to a bot").click()
        await caller.until_ready()
        session_id = await caller.connect()
        await caller.hears_sound()
        await caller.disconnect()
        session = await fleet.until_status(session_id, "ended", "failed")
        assert (session["status"], session["reason"]) == ("ended", "completed")
        assert caller.hosts == {fleet.http.base_url.netloc.decode()}


@pytest.mark.slow
async def test_a_caller_on_an_agents_page_hears_that_agents_bot(fleet_of: StartFleet, tmp_path: Path) -> None:
    bots = f"broken={ROOT / 'tests/bots/broken.py'},assistant={ASSISTANT}"
    async with (
        fleet_of(bot="", slots=1, BOTS=bots) as fleet,
        calling(fleet, a_talker(tmp_path), agent="assistant") as caller,
    ):
        session_id = await caller.connect()
        await caller.hears_sound()
        assert (await fleet.session(session_id))["agent"] == "assistant"
        await caller.disconnect()
        await fleet.until_status(session_id, "ended")


async def test_a_muted_caller_on_the_page_is_not_heard_until_unmuted(fleet_of: StartFleet, tmp_path: Path) -> None:
    async with fleet_of(bot=ASSISTANT, slots=1) as fleet, calling(fleet, a_talker(tmp_path)) as caller:
        await caller.connect()
        await caller.is_heard()
        await caller.button("Mute microphone").click()
        await caller.button("Unmute microphone").wait_for()
        await caller.is_silent()
        await caller.button("Unmute microphone").click()
        await caller.button("Mute microphone").wait_for()
        await caller.is_heard()
        await caller.button("Mute microphone").click()
        await caller.button("Unmute microphone").wait_for()
        await caller.choose_microphone("Fake Audio Input 2")
        await caller.button("Unmute microphone").click()
        await caller.until("microphone().label === 'Fake Audio Input 2'")
        await caller.is_heard()
        await caller.disconnect()
        assert caller.problems == []


@pytest.mark.slow
async def test_a_caller_on_the_page_is_heard_with_another_microphone_and_when_it_was_lost(
    fleet_of: StartFleet, tmp_path: Path
) -> None:
    async with fleet_of(bot=ASSISTANT, slots=1) as fleet, calling(fleet, a_talker(tmp_path)) as caller:
        await caller.connect()
        await caller.is_heard()
        await caller.choose_microphone("Fake Audio Input 1")
        await caller.until("microphone().label === 'Fake Audio Input 1'")
        await caller.is_heard()
        # As the transport does when it makes a new connection in place of a broken one.
        lost = await caller.page.evaluate("microphone().stop(), microphone().id")
        await caller.until("lost => microphone().id !== lost && microphone().readyState === 'live'", lost)
        assert await caller.page.evaluate("microphone().label") == "Fake Audio Input 1"
        await caller.is_heard()
        await caller.disconnect()
        assert caller.problems == []


@pytest.mark.slow
async def test_a_caller_who_hung_up_has_no_open_microphone_and_can_call_again(
    fleet_of: StartFleet, tmp_path: Path
) -> None:
    async with fleet_of(bot=ASSISTANT, slots=2) as fleet, calling(fleet, a_talker(tmp_path)) as caller:
        first = await caller.connect()
        await caller.is_heard()
        track = await caller.page.evaluate_handle("microphone()")
        await caller.disconnect()
        assert await track.evaluate("track => track.readyState") == "ended"
        await fleet.until_status(first, "ended", "failed")
        second = await caller.connect()
        assert second != first
        await caller.hears_sound()
        await caller.is_heard()
        await expect(caller.button("Mute microphone")).to_be_visible()
        await caller.disconnect()
        assert caller.problems == []


@pytest.mark.slow
async def test_a_caller_who_gives_no_microphone_hears_the_bot_all_the_same(
    fleet_of: StartFleet, tmp_path: Path
) -> None:
    async with (
        fleet_of(bot=ASSISTANT, slots=1) as fleet,
        calling(fleet, a_talker(tmp_path), permission="deny") as caller,
    ):
        await caller.connect()
        await caller.hears_sound()
        assert not await caller.page.evaluate("microphone()")
        await caller.disconnect()
        assert caller.problems == []
