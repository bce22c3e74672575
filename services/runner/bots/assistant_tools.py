"""Functions that the language model may call: those of Python files, and those of MCP servers.

A file of `TOOLS` holds Pipecat's direct functions: each public ``async def`` whose first parameter is ``params``. Its
docstring tells the model what it does, its annotations what it takes; it answers through ``params.result_callback``.
``params.app_resources`` is the launch's `body`.
"""

import asyncio
import importlib.util
import inspect
import shlex
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

from services.runner.refusal import LaunchRefused

ANSWERS_WITHIN_S = 10.0
"""How long an MCP server may take to tell its tools; the call waits for it."""


def functions(files: Iterable[str]) -> list[Callable[..., Any]]:
    """The functions of these files.

    Raises:
        LaunchRefused: a file does not import, or has none.
    """
    return [function for file in files for function in _functions(Path(file))]


async def of_servers(servers: Iterable[str], open_ones: AsyncExitStack) -> list[Any]:
    """Connect to these MCP servers, and give their tools; `open_ones` gets what closes the connections.

    Raises:
        LaunchRefused: a server does not answer, or the extra for it is not installed.
    """
    return [tool for server in servers for tool in await _of_server(server, open_ones)]


async def _of_server(server: str, open_ones: AsyncExitStack) -> list[Any]:
    try:
        from mcp import StdioServerParameters  # noqa: PLC0415 - half a second, for those who have such servers
        from mcp.client.session_group import StreamableHttpParameters  # noqa: PLC0415
        from pipecat.services.mcp_service import MCPClient  # noqa: PLC0415
    except ImportError as error:
        raise LaunchRefused("MCP_SERVERS need the extra pipecat-ai[mcp], which is not installed.") from error
    if server.startswith(("http://", "https://")):
        client = MCPClient(StreamableHttpParameters(url=server))
    else:
        command, *arguments = shlex.split(server)
        client = MCPClient(StdioServerParameters(command=command, args=arguments))
    open_ones.push_async_callback(client.close)
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            return list((await client.tools()).standard_tools)
    except Exception as error:
        # Not its address: it may hold a key.
        raise LaunchRefused(f"MCP_SERVERS: a server does not answer: {type(error).__name__}") from error


def _functions(file: Path) -> list[Callable[..., Any]]:
    module = _imported(file)
    found = [
        function
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and next(iter(inspect.signature(function).parameters), "") == "params"
    ]
    if not found:
        raise LaunchRefused(f"TOOLS: {file} has no `async def function(params, …)`")
    return found


def _imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tools_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise LaunchRefused(f"TOOLS: {file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise LaunchRefused(f"TOOLS: {file} does not import: {type(error).__name__}: {error}") from error
    return module
