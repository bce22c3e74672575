"""The installed command, as a person or a script runs it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, Children

COMMAND = str(Path(sys.executable).parent / "pipefleet")


@dataclass(frozen=True)
class Result:
    """What a command said, and its exit code."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        """Its one document."""
        return json.loads(self.out)


class Pipefleet:
    """Runs it with these variables, and none of ours."""

    def __init__(self, children: Children, env: Mapping[str, str]) -> None:
        self._children = children
        self.env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **env}

    async def __call__(self, *arguments: str, text: str | None = None, **env: str) -> Result:
        """To its end; `text` is its standard input."""
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, *arguments),
            cwd=ROOT,
            env={**self.env, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, error = await process.communicate((text or "").encode())
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), error.decode())

    def start(self, *arguments: str) -> Any:
        """One that goes on; its output is read from its log."""
        return self._children.start("pipefleet", [COMMAND, *arguments], (), **self.env)


@pytest.fixture
def pipefleet(children: Children) -> Pipefleet:
    return Pipefleet(children, {})
