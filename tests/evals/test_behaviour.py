"""How the assistant behaves, in Pipecat's own evals: `make evals` runs the scenarios beside this file, in text."""

import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pipecat.evals.scenario import EvalScenarioFile
from pipecat.evals.session import EvalSession, EvalSessionParams

from services.runner.bots.assistant_settings import AssistantSettings
from tests.fakes.openai_api import Call, FakeOpenAI, Say, fake_openai
from tests.processes import Children

HERE = Path(__file__).parent
ONCE_STARTED = EvalSessionParams(connect_timeout_s=60)


@pytest.fixture
async def openai() -> AsyncIterator[FakeOpenAI]:
    async with fake_openai() as service:
        yield service


def assistant(children: Children, **environment: str) -> str:
    """An assistant under Pipecat's own runner; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nothing = {field.removesuffix("_s").upper(): "" for field in AssistantSettings.__struct_fields__}
    command = [sys.executable, "-m", "services.runner.bots.assistant", "--host", "127.0.0.1", "--port", str(port)]
    children.start("assistant", command, pass_fds=(), **{**nothing, **environment})
    return f"ws://127.0.0.1:{port}/ws"


async def failures(name: str, url: str) -> list[str]:
    """The scenarios of a file that went wrong, in their order."""
    found = []
    for scenario in EvalScenarioFile.load(HERE / f"{name}.yaml").scenarios:
        result = await EvalSession.from_scenario(scenario, url, params=ONCE_STARTED).run()
        if not result.passed:
            found.append(f"{scenario.name}: {result}")
    return found


async def test_without_a_model_it_behaves(children: Children) -> None:
    assert await failures("offline", assistant(children)) == []


async def test_with_a_model_it_behaves(children: Children, openai: FakeOpenAI) -> None:
    openai.answers.extend([Call("find_table", {"guests": 2}), Say("Table forty two.")])
    url = assistant(children, LLM_BASE_URL=openai.url, TOOLS=str(HERE / "restaurant.py"))
    assert await failures("with_a_model", url) == []
