"""What stands in for supervisor and bot while a session process goes the way of a launch for the first time."""

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType

from pipecat.runner.types import RunnerArguments

from services.runner.loading.bot_source import Bot
from services.runner.pipe import Begin, Pipe, ToProcess, ToSupervisor, open_pipe
from shared.contract import Launch
from shared.tracing import traceparent

_module = ModuleType("rehearsal")


async def _bot(_: RunnerArguments) -> None:
    pass


_module.bot = _bot  # type: ignore[attr-defined]

IDLE_BOT = Bot(_module, has_pipelines=False)
"""A bot that has nothing to do."""


@asynccontextmanager
async def begun(*, traced: bool) -> AsyncIterator[Pipe[ToProcess]]:
    """A session process's pipe, on which a supervisor has said `Begin`."""
    here, there = socket.socketpair()
    supervisor: Pipe[ToSupervisor] = await open_pipe(there, ToSupervisor)
    pipe: Pipe[ToProcess] = await open_pipe(here, ToProcess)
    launch = Launch(
        session_id="",
        room_url="",
        transport="none",
        deadline_s=1.0,
        max_duration_s=1.0,
        body={},
        traceparent=traceparent.fresh() if traced else "",
    )
    supervisor.send(Begin(entry="0-0", holder="", launch=launch, renewed_at=time.monotonic()))
    try:
        yield pipe
    finally:
        for end in (pipe, supervisor):
            end.close()
