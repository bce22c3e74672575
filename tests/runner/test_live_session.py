"""What a supervisor says to a session's process, in which order."""

import socket
import time
from types import SimpleNamespace
from typing import Any, cast

from services.runner.forking.forks import SessionProcess
from services.runner.live_session import LiveSession, Runner
from services.runner.pipe import Begin, ToProcess, ToSupervisor, open_pipe
from services.runner.settings import RunnerSettings
from shared.activity import ActivityLog
from shared.inbox import Inbox
from shared.launches import Claim, EntryId, Launches
from shared.redis.connection import Redis
from tests.launching import a_launch


async def test_a_lease_that_is_renewed_before_the_launch_is_handed_over_does_not_go_first(redis: Redis) -> None:
    """A later attempt looks back before it begins. A renewal meanwhile made its process exit, and cost an attempt."""
    here, there = socket.socketpair()
    ours, its = await open_pipe(here, ToSupervisor), await open_pipe(there, ToProcess)
    runner = Runner("r", "warm", Launches(redis), Inbox(redis, "r"), ActivityLog(redis), RunnerSettings())
    process = cast("SessionProcess", SimpleNamespace(pipe=ours, output=None))
    session = LiveSession(runner, Claim(EntryId("1-0"), a_launch(attempt=2)), process, renewed_at=time.monotonic())
    renewed_at = time.monotonic()
    session.renewed(renewed_at)
    session._begin()
    first: Any = await its.receive()
    session._timers.close()
    for end in (ours, its):
        end.close()
    assert isinstance(first, Begin)
    assert first.renewed_at == renewed_at
