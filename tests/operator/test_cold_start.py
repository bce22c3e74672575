"""A real operator starts real runners; there is no standby runner in these tests."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.contract import LAUNCH, OVERFLOW, ColdStart, Ended, Leave, Queued, Reason, Running, Starting, session_key
from shared.presence import present
from shared.redis.connection import Redis
from tests.launching import SCRIPTED, offer, records, send
from tests.processes import Child, Children, free_port, session_event, until_gone
from tests.waiting import until

StartOperator = Callable[..., Child]


@pytest.fixture
def start(children: Children, record: Path) -> StartOperator:
    """Starts an operator whose cold runners serve the scripted bot."""

    def start(**env: str) -> Child:
        scripted = {"BOT": str(SCRIPTED), "BOT_RECORD": str(record), "STOP_GRACE": "2", "OVERFLOW_GRACE": "0.1"}
        return children.service("operator", **{**scripted, **env})

    return start


def bot_process(record: Path) -> int:
    """The process of the bot that entered last."""
    return [line for line in records(record) if line.what == "entered"][-1].pid


async def in_hands(redis: Redis) -> Any:
    summary: Any = await redis.xpending(LAUNCH, OVERFLOW)
    return summary["pending"]


async def test_a_launch_in_an_empty_fleet_is_served_by_a_cold_runner_that_then_exits(
    redis: Redis, start: StartOperator, record: Path
) -> None:
    operator = start()
    launch = await offer(redis, body={"do": "return"})
    assert (await session_event(redis, launch.session_id, ColdStart)).error == ""
    assert (await session_event(redis, launch.session_id, Starting)).start == "cold"
    assert (await session_event(redis, launch.session_id, Ended)).reason is Reason.COMPLETED
    assert await redis.xlen(LAUNCH) == 0

    async def let_go() -> bool:
        return bool(await in_hands(redis) == 0)

    await until(let_go)
    operator.terminate()
    assert await operator.wait() == 0
    assert [line.what for line in records(record)] == ["entered", "left"]


async def test_launches_beyond_the_limit_wait_for_a_cold_runner_to_end(
    redis: Redis, start: StartOperator, record: Path
) -> None:
    start(COLD_MAX="1")
    launches = [await offer(redis, body={"do": "return"}) for _ in range(3)]
    for launch in launches:
        await session_event(redis, launch.session_id, Ended, within_s=60)
    told = [line for line in records(record) if line.what in {"entered", "left"}]
    assert [line.what for line in told] == ["entered", "left"] * 3


async def test_a_call_survives_the_sudden_end_of_its_operator(redis: Redis, start: StartOperator, record: Path) -> None:
    operator = start()
    launch = await offer(redis, body={"do": "stay"})
    await session_event(redis, launch.session_id, Running)
    operator.kill()
    await operator.wait()
    await send(redis, launch, Leave(command_id="c"))
    assert (await session_event(redis, launch.session_id, Ended)).reason is Reason.LEFT
    await until_gone(bot_process(record))


async def test_an_operator_that_is_told_to_stop_lets_calls_finish_and_starts_no_more(
    redis: Redis, start: StartOperator
) -> None:
    operator = start()
    launch = await offer(redis, body={"do": "stay"})
    await session_event(redis, launch.session_id, Running)
    operator.terminate()
    await operator.said("cold_runners_draining")
    late = await offer(redis, body={"do": "return"})
    await send(redis, launch, Leave(command_id="c"))
    assert (await session_event(redis, launch.session_id, Ended)).reason is Reason.LEFT
    assert await operator.wait() == 0
    assert await redis.xlen(LAUNCH) == 1
    assert late.session_id not in operator.output()


async def test_an_operator_that_is_told_twice_has_its_calls_handed_back(redis: Redis, start: StartOperator) -> None:
    operator = start()
    launch = await offer(redis, body={"do": "stay"})
    await session_event(redis, launch.session_id, Running)
    (runner,) = await present(redis)
    # It hears of both at once: neither may be lost in the other.
    os.kill(runner.pid, signal.SIGSTOP)
    operator.terminate()
    await operator.said("cold_runners_draining")
    operator.terminate()
    await operator.said("cold_runners_hand_back")
    os.kill(runner.pid, signal.SIGCONT)
    assert await operator.wait() == 0
    again = await session_event(redis, launch.session_id, Queued, attempt=2)
    assert again.reason is Reason.RUNNER_STOPPED


async def test_a_cold_runner_that_cannot_start_is_seen_in_the_history_of_its_session(
    redis: Redis, start: StartOperator
) -> None:
    operator = start(JOIN_TIMEOUT="soon")
    launch = await offer(redis)
    await operator.said("cold_start_failed")
    assert "JOIN_TIMEOUT: expected a number, got 'soon'" in operator.output()

    async def told() -> bool:
        return "the cold runner exited with code 1" in str(await redis.xrange(f"{{bot}}:session:{launch.session_id}"))

    await until(told)


async def test_an_operator_is_ready_while_redis_answers(children: Children, redis_url: str) -> None:
    port = str(free_port())
    operator = children.service("operator", HEALTH_PORT=port, LAUNCHER="none")
    await operator.said("no_cold_capacity")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

        async def ready() -> bool:
            return (await http.get("/readyz")).status_code == 200

        await until(ready)
        assert (await http.get("/healthz")).status_code == 200


async def test_an_operator_whose_redis_is_away_says_so_once_and_is_not_ready(children: Children) -> None:
    port = str(free_port())
    operator = children.service("operator", HEALTH_PORT=port, REDIS_URL="unix:///nowhere/redis.sock")
    await operator.said("redis_away")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        assert (await http.get("/readyz")).status_code == 503
    operator.terminate()
    assert await operator.wait() == 0
    assert operator.output().count("redis_away") == 1


async def test_bad_settings_stop_the_operator_with_every_name(children: Children) -> None:
    operator = children.service("operator", COLD_MAX="-1", LAUNCHER="magic", OVERFLOW_GRACE="soon")
    assert await operator.wait() == 1
    for name in ("COLD_MAX", "LAUNCHER: expected one of process, kubernetes, none", "OVERFLOW_GRACE"):
        assert name in operator.output()


async def test_a_launch_of_an_agent_is_served_by_a_cold_runner_of_an_operator_that_has_the_agent(
    redis: Redis, start: StartOperator, record: Path
) -> None:
    start(BOTS=f"support={SCRIPTED}", BOT="")
    start(BOTS=f"sales={SCRIPTED}", BOT="")
    launch = await offer(redis, body={"do": "return"}, agent="sales")
    unknown = await offer(redis, agent="lawyer")
    assert (await session_event(redis, launch.session_id, Starting)).start == "cold"
    assert (await session_event(redis, launch.session_id, Ended)).reason is Reason.COMPLETED
    assert [line.session_id for line in records(record)] == [launch.session_id] * 2
    assert await redis.xlen(session_key(unknown.session_id)) == 1
