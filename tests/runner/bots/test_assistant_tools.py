"""Functions for the model, from Python files and from a real MCP server."""

import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.runner.bots import assistant_tools
from services.runner.refusal import LaunchRefused

FILE = """
import asyncio
from asyncio import sleep

async def first(params, city: str): "Weather."
async def second(params): "Nothing."
async def _own(params): ...
async def without(city): ...
def not_async(params): ...
"""

SERVER = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("kitchen")

@server.tool()
def order(dish: str) -> str:
    "Order a dish."
    return f"{dish} is coming"

server.run()
"""


def test_a_files_functions_are_its_public_coroutines_that_take_params(tmp_path: Path) -> None:
    (tmp_path / "weather.py").write_text(FILE)
    assert [found.__name__ for found in assistant_tools.functions([str(tmp_path / "weather.py")])] == [
        "first",
        "second",
    ]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1", "has no `async def function(params, …)`"),
        ("import nothing_like_it", "does not import: ModuleNotFoundError: No module named"),
        ("def f(:", "does not import: SyntaxError"),
    ],
)
def test_a_file_without_functions_is_refused(tmp_path: Path, source: str, complaint: str) -> None:
    (tmp_path / "bad.py").write_text(source)
    with pytest.raises(LaunchRefused) as refused:
        assistant_tools.functions([str(tmp_path / "bad.py")])
    assert str(refused.value).startswith(f"TOOLS: {tmp_path / 'bad.py'} {complaint}")


async def test_the_tools_of_an_mcp_server_are_described_and_its_process_ends_with_the_call(tmp_path: Path) -> None:
    (tmp_path / "kitchen.py").write_text(SERVER)
    async with AsyncExitStack() as servers:
        (tool,) = await assistant_tools.of_servers([f"{sys.executable} {tmp_path / 'kitchen.py'}"], servers)
        assert (tool.name, tool.description) == ("order", "Order a dish.")
        assert tool.properties["dish"]["type"] == "string"
        assert tool.required == ["dish"]
        assert tool.handler is not None


@pytest.mark.parametrize("server", ["/no/such/program key-SECRET", "http://127.0.0.1:1/mcp?key=SECRET"])
async def test_a_server_that_is_not_there_is_refused_without_its_address(server: str) -> None:
    async with AsyncExitStack() as servers:
        with pytest.raises(LaunchRefused, match="MCP_SERVERS: a server does not answer: ") as refused:
            await assistant_tools.of_servers([server], servers)
    assert "SECRET" not in str(refused.value)
