"""Commands through a real runner: each has a fate in its session's history, whatever becomes of bots and runners."""

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from services.runner.forking.process_names import SESSION_PROCESS
from shared import events
from shared.contract import (
    COMMANDS,
    FIELD,
    AppMessage,
    CommandDone,
    CommandReason,
    Custom,
    Ended,
    Launch,
    Leave,
    Leaving,
    Outcome,
    Queued,
    Running,
    Say,
    commands_key,
)
from shared.redis.connection import Redis
from tests.launching import SCRIPTED, offer, send
from tests.processes import Child, Children, children_called, session_event
from tests.waiting import until

COMMANDED = SCRIPTED.parent / "commanded.py"
StartRunner = Callable[..., Child]


@pytest.fixture
def start(children: Children, record: Path) -> StartRunner:
    """Starts a runner with the bot that records its commands."""

    def start(**env: str) -> Child:
        variables = {"BOT": str(COMMANDED), "BOT_RECORD": str(record), "STOP_GRACE": "2", "RUNNER_SLOTS": "2", **env}
        return children.service("runner", **variables)

    return start


def recorded(record: Path) -> list[Any]:
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


async def fates(redis: Redis, launch: Launch) -> list[CommandDone]:
    history = await events.history(redis, launch.session_id)
    return [event for _, event in history if isinstance(event, CommandDone)]


async def until_done(redis: Redis, launch: Launch, number: int = 1) -> list[CommandDone]:
    """The fates of a session's commands, once there are so many."""

    async def enough() -> list[CommandDone]:
        found = await fates(redis, launch)
        return found if len(found) >= number else []

    found: list[CommandDone] = await until(enough)
    return found


async def test_a_command_sent_before_the_bot_is_up_is_delivered_when_it_is(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    launch = await offer(redis, body={})
    await send(redis, launch, Say(command_id="s", text="Hello"))
    await send(redis, launch, Custom(command_id="c", data={"n": 1}))
    start()
    done = await until_done(redis, launch, 2)
    assert [(fate.command_id, fate.kind, fate.outcome, fate.attempt) for fate in done] == [
        ("s", "say", Outcome.DELIVERED, 1),
        ("c", "custom", Outcome.DELIVERED, 1),
    ]
    await until(lambda: len(recorded(record)) == 2)
    assert sorted(line[3:] for line in recorded(record)) == [["c", {"n": 1}], ["s", "TTSSpeakFrame"]]
    assert await redis.xlen(commands_key(launch.session_id)) == 0


@pytest.mark.parametrize(
    ("bot", "body", "command", "reason"),
    [
        (COMMANDED, {"handler": "none"}, Custom(command_id="c", data=1), CommandReason.NO_HANDLER),
        (COMMANDED, {}, AppMessage(command_id="c", data=1), CommandReason.NO_SERVICE),
        (SCRIPTED, {"do": "stay"}, Say(command_id="c", text="x"), CommandReason.NO_PIPELINE),
    ],
    ids=["no handler", "no service", "no pipeline"],
)
async def test_a_bot_that_has_nothing_for_a_command_leaves_it_unhandled(
    redis: Redis, start: StartRunner, bot: Path, body: Any, command: Any, reason: CommandReason
) -> None:
    start(BOT=str(bot))
    launch = await offer(redis, body=body)
    await send(redis, launch, command)
    [fate] = await until_done(redis, launch)
    assert (fate.outcome, fate.reason) == (Outcome.UNHANDLED, reason)


async def test_a_bot_without_a_pipeline_leaves_a_command_unhandled_also_beside_an_agent_that_has_one(
    redis: Redis, start: StartRunner
) -> None:
    """Pipelines were imported for the other agent, and the command waited for one until the session was over."""
    start(BOTS=f"piped={COMMANDED},plain={SCRIPTED}")
    launch = await offer(redis, agent="plain", body={"do": "stay"})
    await send(redis, launch, Say(command_id="c", text="x"))
    [fate] = await until_done(redis, launch)
    assert (fate.outcome, fate.reason) == (Outcome.UNHANDLED, CommandReason.NO_PIPELINE)


async def test_a_command_whose_turn_comes_too_late_has_expired_and_the_next_one_has_its_turn(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    launch = await offer(redis, body={})
    await send(redis, launch, Custom(command_id="late", data=1, expires_s=0.01))
    await send(redis, launch, Custom(command_id="in time", data=2, expires_s=100.0))
    start()
    late, in_time = await until_done(redis, launch, 2)
    assert (late.command_id, late.outcome, late.reason) == ("late", Outcome.EXPIRED, None)
    assert (in_time.command_id, in_time.outcome) == ("in time", Outcome.DELIVERED)
    assert [line[3] for line in recorded(record)] == ["in time"]


async def test_a_command_that_nobody_can_read_fails_and_blocks_nobody(redis: Redis, start: StartRunner) -> None:
    launch = await offer(redis, body={})
    for text in ('{"type":"of tomorrow","command_id":"t"}', "not JSON"):
        await redis.xadd(commands_key(launch.session_id), {FIELD: text})
    await send(redis, launch, Custom(command_id="c", data=1))
    start()
    found = {fate.command_id: (fate.kind, fate.outcome, fate.reason) for fate in await until_done(redis, launch, 3)}
    assert found == {
        "t": ("of tomorrow", Outcome.FAILED, CommandReason.UNREADABLE),
        "": ("", Outcome.FAILED, CommandReason.UNREADABLE),
        "c": ("custom", Outcome.DELIVERED, None),
    }
    assert await redis.xlen(commands_key(launch.session_id)) == 0


async def test_commands_to_a_bot_that_has_died_reach_the_next_one_in_order(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    start()
    launch = await offer(redis, body={})
    await send(redis, launch, Custom(command_id="0", data=0))
    await until_done(redis, launch, 1)
    [[_, _, pid, *_]] = recorded(record)
    os.kill(pid, signal.SIGKILL)
    await session_event(redis, launch.session_id, Queued, attempt=2)
    for number in range(1, 20):
        await send(redis, launch, Custom(command_id=str(number), data=number))
    done = await until_done(redis, launch, 20)
    assert [(fate.command_id, fate.outcome) for fate in done] == [(str(n), Outcome.DELIVERED) for n in range(20)]
    assert [line[4] for line in recorded(record)] == list(range(20))
    assert {line[1] for line in recorded(record)[1:]} == {2}


async def test_a_handler_that_waits_for_a_cancelled_task_fails_its_command_and_no_other(
    redis: Redis, start: StartRunner
) -> None:
    """The cancellation went through the handler and ended the delivery of all that was sent afterwards, in silence."""
    start()
    launch = await offer(redis, body={"handler": "cancelled"})
    await send(redis, launch, Custom(command_id="c", data=1))
    await send(redis, launch, Say(command_id="s", text="Hello"))
    failed, delivered = await until_done(redis, launch, 2)
    assert (failed.command_id, failed.outcome, failed.reason) == ("c", Outcome.FAILED, CommandReason.BOT_ERROR)
    assert failed.message == "the bot raised CancelledError"
    assert (delivered.command_id, delivered.outcome) == ("s", Outcome.DELIVERED)
    await send(redis, launch, Leave(command_id="l"))
    await session_event(redis, launch.session_id, Ended)


@pytest.mark.slow
async def test_what_a_frozen_runner_was_given_reaches_the_bot_in_its_place_once_and_in_order(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    """Its host is frozen while it waits for commands, and wakes when another runner has the session."""
    frozen = start(LEASE="3", RUNNER_SLOTS="1")
    launch = await offer(redis, body={})
    await send(redis, launch, Custom(command_id="0", data=0))
    await until_done(redis, launch)
    host = [frozen.pid, *children_called(SESSION_PROCESS, frozen.pid)]
    for pid in host:
        os.kill(pid, signal.SIGSTOP)
    for number in range(1, 10):
        await send(redis, launch, Custom(command_id=str(number), data=number))
    # The server has given the first of them to the read in which the runner was frozen.
    assert (await redis.xpending(commands_key(launch.session_id), COMMANDS))["pending"] == 1
    start(LEASE="3")
    await session_event(redis, launch.session_id, Running, attempt=2)
    for pid in host:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    await frozen.said("lease_lost")
    await send(redis, launch, Custom(command_id="10", data=10))
    done = await until_done(redis, launch, 11)
    assert [(fate.command_id, fate.outcome) for fate in done] == [(str(n), Outcome.DELIVERED) for n in range(11)]
    assert [(line[1], line[4]) for line in recorded(record)] == [(1 if n == 0 else 2, n) for n in range(11)]
    await send(redis, launch, Leave(command_id="l"))
    await session_event(redis, launch.session_id, Ended, attempt=2)


async def test_what_a_finished_pipeline_is_given_does_not_count_as_delivered(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    start()
    launch = await offer(redis, body={"handler": "finish"})
    await send(redis, launch, Custom(command_id="last", data=1))
    await until(lambda: any(line[4] == "finished" for line in recorded(record)))
    await send(redis, launch, Say(command_id="too_late", text="x"))
    await send(redis, launch, Leave(command_id="leave"))
    ended = await session_event(redis, launch.session_id, Ended)
    assert [(fate.command_id, fate.outcome, fate.reason) for fate in await fates(redis, launch)] == [
        ("last", Outcome.DELIVERED, None),
        ("too_late", Outcome.FAILED, CommandReason.SESSION_OVER),
        ("leave", Outcome.DELIVERED, None),
    ]
    assert ended.reason == "left"


async def test_a_command_that_is_accepted_while_the_bot_leaves_is_told_that_the_session_is_over(
    redis: Redis, start: StartRunner
) -> None:
    start(BOT=str(SCRIPTED))
    launch = await offer(redis, body={"do": "ignore cancellation"})
    await session_event(redis, launch.session_id, Running)
    await send(redis, launch, Leave(command_id="leave"))
    await session_event(redis, launch.session_id, Leaving)
    await send(redis, launch, Say(command_id="say", text="x"))
    await session_event(redis, launch.session_id, Ended)
    leave, say = await fates(redis, launch)
    assert (leave.command_id, leave.outcome) == ("leave", Outcome.DELIVERED)
    assert (say.outcome, say.reason, say.message) == (
        Outcome.FAILED,
        CommandReason.SESSION_OVER,
        "The session is over: left",
    )


async def test_a_bot_that_leaves_is_given_no_more_of_what_waits_for_it(
    redis: Redis, start: StartRunner, record: Path
) -> None:
    start()
    launch = await offer(redis, body={"handler": "hold"})
    for number in range(3):
        await send(redis, launch, Custom(command_id=str(number), data=number))
    await until(lambda: recorded(record))
    await send(redis, launch, Leave(command_id="leave"))
    await session_event(redis, launch.session_id, Ended)
    assert [(fate.command_id, fate.reason) for fate in await fates(redis, launch)] == [
        *((str(number), CommandReason.SESSION_OVER) for number in range(3)),
        ("leave", None),
    ]
    assert [line[4] for line in recorded(record)] == [0, "finished"]
