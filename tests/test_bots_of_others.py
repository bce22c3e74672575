"""Bots as other people write them, for Pipecat's own runner: under that runner, and unchanged under Pipefleet."""

import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.conftest import StartFleet
from tests.fakes.openai_api import Answer, Call, FakeOpenAI, Say, fake_openai
from tests.processes import START_S, Children, free_port
from tests.speech import speech
from tests.webrtc_peer import WebRTCPeer

BOTS = Path(__file__).parent / "bots_of_others"


class Caller(WebRTCPeer):
    """A client that speaks Pipecat's protocol, RTVI, besides."""

    def __init__(self, http: httpx.AsyncClient, session_id: str) -> None:
        async def signal(offer: Mapping[str, str]) -> Mapping[str, str]:
            answer = await http.post(f"/sessions/{session_id}/api/offer", json=dict(offer))
            assert answer.status_code == 200, answer.text
            told: dict[str, str] = answer.json()
            return told

        super().__init__(signal)

    async def tell(self, kind: str, data: Any) -> None:
        message = {"label": "rtvi-ai", "type": kind, "id": uuid4().hex, "data": data}
        await self.send(json.dumps(message))

    async def told(self, kind: str, **data: Any) -> None:
        """Returns when the bot has sent a message of this type, with at least these data."""

        def wanted(message: str) -> bool:
            with suppress(ValueError):
                said = json.loads(message)
                return bool(said.get("type") == kind and data.items() <= (said.get("data") or {}).items())
            return False

        await self.wait_for_message(wanted)

    async def be_ready(self) -> None:
        await self.tell("client-ready", {"version": "1.0.0", "about": {"library": "test"}})
        await self.told("bot-ready")

    async def hears(self) -> None:
        await self.wait_for_sound(timeout_s=15)


@dataclass(frozen=True)
class Example:
    """One bot, what is done with it, and what must come of it."""

    bot: str
    talk: Callable[[Caller, FakeOpenAI], Awaitable[None]]
    reason: str = "completed"
    """Why the session is over afterwards; `left`: only because the bot was told to leave."""
    body: dict[str, Any] = field(default_factory=dict)
    answers: tuple[Answer, ...] = ()
    heard: tuple[str, ...] = ()
    hangs_up: bool = True
    """Whether the bot does; otherwise the caller."""


def hears(*spoken: str) -> Callable[[Caller, FakeOpenAI], Awaitable[None]]:
    """A caller who only listens."""

    async def listen(caller: Caller, model: FakeOpenAI) -> None:
        for text in spoken:
            await model.until_spoken(text)
        await caller.hears()

    return listen


async def ask_for_the_weather(caller: Caller, model: FakeOpenAI) -> None:
    await caller.be_ready()
    await caller.tell("send-text", {"content": "How is the weather in Kiel?"})
    await model.until_spoken("It is sunny in Kiel.")
    await caller.hears()
    asked, answered = model.chats
    assert asked["messages"][-1]["content"] == "How is the weather in Kiel?"
    assert asked["tools"][0]["function"]["name"] == "get_weather"
    assert json.loads(answered["messages"][-1]["content"]) == {"conditions": "sunny", "city": "Kiel"}


async def give_a_name(caller: Caller, model: FakeOpenAI) -> None:
    await model.until_spoken("Who is there?")
    await caller.be_ready()
    await caller.tell("send-text", {"content": "I am Ann."})
    await model.until_spoken("Goodbye.")
    assert "Say goodbye to Ann." in json.dumps(model.chats[-1]["messages"])


async def be_counted(caller: Caller, model: FakeOpenAI) -> None:
    await caller.be_ready()
    await model.until_spoken("One two three.")
    await caller.told("server-message", words=3)


async def send_messages(caller: Caller, model: FakeOpenAI) -> None:
    await caller.be_ready()
    await caller.tell("client-message", {"t": "say", "d": {"text": "come in"}})
    await model.until_spoken("If you please: come in")
    await caller.hears()
    await caller.told("server-response", t="say", d={"took": "say"})
    await caller.told("server-message", **{"for": "everyone"})


async def chat(caller: Caller, model: FakeOpenAI) -> None:
    await model.until_spoken("Hello from the model.")
    await caller.hears()
    await caller.be_ready()
    await caller.tell("send-text", {"content": "Do you hear me?"})
    await model.until_spoken("You said: Do you hear me?")


async def talk(caller: Caller, model: FakeOpenAI) -> None:
    await caller.be_ready()
    caller.speak(speech("Thank you very much."))
    await model.until_spoken("You said: Thank you.")
    await caller.hears()
    await caller.told("user-transcription", text="Thank you.", final=True)


EXAMPLES = [
    Example("voice_agent", talk, heard=("Thank you.",), hangs_up=False),
    Example("say_one_thing", hears("Hello there!")),
    Example(
        "function_calling",
        ask_for_the_weather,
        answers=(Call("get_weather", {"city": "Kiel"}), Say("It is sunny in Kiel.")),
        hangs_up=False,
    ),
    Example("flow", give_a_name, answers=(Say("Who is there?"), Call("take_name", {"name": "Ann"}), Say("Goodbye."))),
    Example("multi_worker", hears("The clerk says 42.")),
    Example("observed", be_counted),
    Example("idle", hears("Nobody is there.")),
    Example("custom_processors", send_messages, hangs_up=False),
    Example("module_state", hears("This is call number 1.")),
    Example("never_returns", hears("I am here to stay."), reason="left", hangs_up=False),
    Example("sys_exit", hears("I am in a good mood."), hangs_up=False),
    Example("exit_in_handler", hears("Until you hang up."), hangs_up=False),
    Example("body_and_arguments", hears("Welcome, Ann."), body={"guest": {"name": "Ann"}}),
    Example("older_names", chat, answers=(Say("Hello from the model."),), hangs_up=False),
]
QUICK = {"function_calling", "custom_processors"}
"""The others take a while, and are for `make test-all`."""
EACH = pytest.mark.parametrize(
    "example",
    [pytest.param(one, id=one.bot, marks=[] if one.bot in QUICK else [pytest.mark.slow]) for one in EXAMPLES],
)


@pytest.fixture
async def model() -> AsyncIterator[FakeOpenAI]:
    async with fake_openai() as service:
        yield service


def environment(model: FakeOpenAI) -> dict[str, str]:
    """What the bots' authors would set."""
    return {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "sk-test"}


async def call(http: httpx.AsyncClient, example: Example, model: FakeOpenAI) -> str:
    """Start the bot, and do with it what the example says. Gives the session's id when the call is over."""
    model.answers += example.answers
    model.heard += example.heard
    started = await http.post("/start", json={"transport": "webrtc", "body": example.body})
    assert started.status_code == 200, started.text
    session_id = str(started.json()["sessionId"])
    async with Caller(http, session_id) as caller:
        await example.talk(caller, model)
        if example.hangs_up:
            await caller.wait_for_end(timeout_s=20)
    return session_id


@asynccontextmanager
async def development_runner(children: Children, bot: Path, model: FakeOpenAI) -> AsyncIterator[httpx.AsyncClient]:
    """`python bot.py -t webrtc`, as its author runs it."""
    port = free_port()
    command = [sys.executable, str(bot), "-t", "webrtc", "--host", "127.0.0.1", "--port", str(port)]
    runner = children.start("pipecat", command, (), **environment(model))
    await runner.said("Uvicorn running on", within_s=START_S)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        yield http
    runner.signal(signal.SIGINT)


@EACH
async def test_a_bot_runs_under_pipecats_own_runner(example: Example, children: Children, model: FakeOpenAI) -> None:
    """The same calls as below, so that what is asked of Pipefleet is what Pipecat does."""
    async with development_runner(children, BOTS / f"{example.bot}.py", model) as http:
        await call(http, example, model)


@EACH
async def test_the_same_bot_runs_unchanged_under_pipefleet(
    example: Example, fleet_of: StartFleet, model: FakeOpenAI
) -> None:
    async with fleet_of(bot=BOTS / f"{example.bot}.py", slots=1, operator=False, **environment(model)) as fleet:
        session_id = await call(fleet.http, example, model)
        if example.reason == "left":
            assert (await fleet.session(session_id))["status"] == "running"
            await fleet.http.delete(f"/sessions/{session_id}")
        session = await fleet.until_status(session_id, "ended", "failed")
    assert (session["status"], session["reason"], session["attempt"]) == ("ended", example.reason, 1)
    kinds = [event["type"] for event in session["timeline"]]
    assert [kind for kind in kinds if kind not in {"leaving", "command"}] == ["queued", "starting", "running", "ended"]


@pytest.mark.slow
async def test_what_a_bot_keeps_in_its_module_is_fresh_in_every_session(
    fleet_of: StartFleet, model: FakeOpenAI
) -> None:
    """Under Pipecat's own runner the second call would be number 2."""
    counting = Example("module_state", hears("This is call number 1."))
    async with fleet_of(bot=BOTS / "module_state.py", slots=2, operator=False, **environment(model)) as fleet:
        for _ in range(2):
            model.spoken.clear()
            await call(fleet.http, counting, model)
            assert model.spoken == ["This is call number 1."]
