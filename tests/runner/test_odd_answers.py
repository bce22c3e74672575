"""A runner's own parts after what happens once in a long while: nothing of them is gone for good."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from redis.exceptions import ResponseError

from services.runner.forking.forks import ForkFailed, Zygote
from services.runner.live_session import Runner
from services.runner.settings import RunnerSettings
from services.runner.slots import Slots
from services.runner.supervisor import Supervisor
from shared.activity import ActivityLog
from shared.claims import Claims
from shared.inbox import Inbox
from shared.launches import Launches
from shared.redis.connection import Redis
from shared.sweep import Sweep
from tests.launching import SCRIPTED, offer


@pytest.fixture
def zygote(monkeypatch: pytest.MonkeyPatch) -> Zygote:
    monkeypatch.setenv("BOT", str(SCRIPTED))
    return Zygote(logs_output=True)


@pytest.fixture
async def slots(zygote: Zygote) -> AsyncIterator[Slots]:
    """One, that is warm."""
    one = Slots(1, zygote)
    async with one.kept_warm():
        assert await one.warm()
        yield one


def files_for_output() -> int:
    """How many this process has open."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += "bot-output" in os.readlink(f"/proc/self/fd/{fd}")
    return count


@pytest.mark.usefixtures("slots")
async def test_a_fork_that_a_dead_zygote_does_not_hear_of_leaves_no_file_open(zygote: Zygote) -> None:
    before = files_for_output()
    assert zygote._process
    zygote._process.kill()
    os.waitid(os.P_PID, zygote._process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - before the loop can see it
    with pytest.raises(ForkFailed):
        await zygote.fork()
    assert files_for_output() == before


async def test_an_odd_answer_about_a_claim_costs_no_slot(redis: Redis, slots: Slots) -> None:
    """Its process was in nobody's hands any more, and its slot was never filled again."""
    settings, launches, claims = RunnerSettings(), Launches(redis), Claims(redis, "r")
    runner = Runner("r", "warm", launches, Inbox(redis, "r"), ActivityLog(redis), settings)
    supervisor = Supervisor(runner, redis, claims, slots, Sweep(redis, lease_s=settings.lease_s, max_attempts=3))
    await offer(redis)
    claim = await claims.next()
    assert claim
    await redis.flushall()
    with pytest.raises(ResponseError, match="NOGROUP"):
        await supervisor._begin(claim, asked_at=0.0)
    async with asyncio.timeout(10):
        assert await slots.warm()
    await claims.aclose()
