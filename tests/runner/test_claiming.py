"""Runners with bots that do not import, beside others and alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.runner.claiming import takes
from shared.contract import Ended, Failed, Leave, Presence, Reason, Running, Starting
from shared.launches import Launches
from shared.presence import present
from shared.redis.connection import Redis
from tests.launching import SCRIPTED, offer, send
from tests.presences import a_presence
from tests.processes import Child, Children, session_event
from tests.waiting import until

BROKEN = str(SCRIPTED.parent / "broken.py")


def another(*agents: str, **told: Any) -> Presence:
    return a_presence("another", agents=agents, **told)


@pytest.mark.parametrize(
    ("broken", "others", "taken"),
    [
        pytest.param([], [another("", "sales")], ("", "sales"), id="all that import, whoever else is there"),
        pytest.param(["sales"], [another("sales")], ("",), id="not a broken one that another serves"),
        pytest.param(["sales"], [another("sales", busy=1)], ("",), id="nor one that another serves once it is free"),
        pytest.param(["sales"], [another("sales", state="starting")], ("",), id="or when it has started"),
        pytest.param(["sales"], [], ("", "sales"), id="a broken one that nobody serves"),
        pytest.param(["sales"], [another("")], ("", "sales"), id="a broken one that others do not have"),
        pytest.param(["sales"], [another("sales", broken=("sales",))], ("", "sales"), id="one broken everywhere"),
        pytest.param(["sales"], [another("sales", state="draining")], ("", "sales"), id="one that only leaves serve"),
        pytest.param(["", "sales"], [another("", "sales")], (), id="nothing, if all are broken and served elsewhere"),
    ],
)
def test_a_runner_takes(broken: list[str], others: list[Presence], taken: tuple[str, ...]) -> None:
    assert takes(("", "sales"), frozenset(broken), others) == taken


@pytest.fixture
def start(children: Children, record: Path) -> Callable[..., Child]:
    """Starts a runner with one slot and this bot."""
    return lambda bot, **env: children.service(
        "runner", BOT=bot, BOT_RECORD=str(record), STOP_GRACE="2", RUNNER_SLOTS="1", **env
    )


async def a_busy_runner(redis: Redis, start: Callable[..., Child]) -> tuple[Child, Any]:
    runner = start(str(SCRIPTED))
    staying = await offer(redis, body={"do": "stay"})
    await session_event(redis, staying.session_id, Running)
    return runner, staying


async def test_a_bad_deploy_takes_no_launch_from_the_runners_that_it_was_to_replace(
    redis: Redis, start: Callable[..., Child]
) -> None:
    good, staying = await a_busy_runner(redis, start)
    bad = start(BROKEN)
    await bad.said("standing_back")

    async def told() -> bool:
        [one] = [one for one in await present(redis) if one.pid == bad.pid]
        return (one.free, one.busy, one.broken) == (0, 0, ("",))

    await until(told)
    waiting = await offer(redis, body={"do": "return"})
    await send(redis, staying, Leave(command_id="c"))
    assert f"-{good.pid}-" in (await session_event(redis, waiting.session_id, Starting)).runner
    assert (await session_event(redis, waiting.session_id, Ended)).reason is Reason.COMPLETED
    assert bad.output().count("standing_back") == 1


async def test_where_no_runner_with_a_better_bot_is_left_a_launch_fails_at_once_with_the_reason(
    redis: Redis, start: Callable[..., Child]
) -> None:
    good = start(str(SCRIPTED))
    await until_ready(redis)
    bad = start(BROKEN)
    await bad.said("standing_back")
    good.terminate()
    assert await good.wait() == 0
    failed = await session_event(redis, (await offer(redis)).session_id, Failed)
    assert failed.reason is Reason.BOT_IMPORT_ERROR
    assert failed.message.startswith("RuntimeError: half of me is missing")


async def test_a_cold_runner_without_a_bot_leaves_the_launch_to_the_others_and_fails_itself(
    redis: Redis, start: Callable[..., Child]
) -> None:
    _, staying = await a_busy_runner(redis, start)
    waiting = await offer(redis, body={"do": "return"})
    cold = start(BROKEN, RUNNER_AUTO_START="1")
    assert await cold.wait() == 1
    assert await Launches(redis).depth() == 1
    await send(redis, staying, Leave(command_id="c"))
    assert (await session_event(redis, waiting.session_id, Ended)).reason is Reason.COMPLETED


async def until_ready(redis: Redis) -> None:
    """Returns when the one runner there can claim."""

    async def ready() -> bool:
        return [one.state for one in await present(redis)] == ["ready"]

    await until(ready)
