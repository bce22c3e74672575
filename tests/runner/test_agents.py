"""Runners with several bots: real processes, each of which can serve any agent of its runner."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import presence
from shared.contract import Ended, Failed, Launch, Leave, Queued, Reason, Running, Starting, launch_stream
from shared.redis.connection import Redis
from tests.launching import SCRIPTED, offer, records, send
from tests.processes import Child, Children, session_event
from tests.waiting import until

BOTS = SCRIPTED.parent
NAMED = """
import os
from pathlib import Path
import tools

async def bot(args):
    import late
    with Path(os.environ["BOT_RECORD"]).open("a") as file:
        file.write(f"{args.session_id} {tools.NAME} {late.NAME}\\n")
"""


@pytest.fixture
def start(children: Children, record: Path) -> Callable[..., Child]:
    """Starts a runner with these bots."""
    return lambda bots, **env: children.service(
        "runner", BOTS=bots, BOT_RECORD=str(record), STOP_GRACE="2", LEASE="4", **env
    )


def two_of_one_name(folder: Path) -> str:
    """Two bots called `bot.py`, each with neighbours of its own, of which one is imported as the bot is called."""
    for name in ("sales", "support"):
        (folder / name).mkdir()
        for neighbour in ("tools", "late"):
            (folder / name / f"{neighbour}.py").write_text(f"NAME = {name!r}")
        (folder / name / "bot.py").write_text(NAMED)
    return f"sales={folder}/sales/bot.py,support={folder}/support/bot.py"


async def one(redis: Redis, launch: Launch, kind: Any, attempt: int = 1) -> Any:
    return await session_event(redis, launch.session_id, kind, attempt=attempt)


async def test_a_runner_serves_each_session_with_the_bot_of_its_agent_and_that_bots_neighbours(
    redis: Redis, start: Callable[..., Child], record: Path, tmp_path: Path
) -> None:
    start(two_of_one_name(tmp_path), RUNNER_SLOTS="2")
    names = ["sales", "support", "support", "sales"]
    launches = [await offer(redis, agent=name) for name in names]
    for launch in launches:
        assert (await one(redis, launch, Ended)).reason is Reason.COMPLETED
    told = dict(line.split(" ", 1) for line in record.read_text().splitlines())
    assert [told[launch.session_id] for launch in launches] == [f"{name} {name}" for name in names]


async def test_runners_with_different_bots_take_what_they_have_and_leave_the_rest_to_its_deadline(
    redis: Redis, start: Callable[..., Child], record: Path
) -> None:
    runners = {name: start(f"{name}={SCRIPTED}") for name in ("sales", "support")}
    launches = {name: await offer(redis, agent=name, body={"do": "stay"}) for name in ("sales", "support")}
    nobodys = [await offer(redis, agent=name, deadline_s=1.0) for name in ("", "lawyer")]
    for name, launch in launches.items():
        assert f"-{runners[name].pid}-" in (await one(redis, launch, Starting)).runner
    for launch in nobodys:
        assert (await one(redis, launch, Failed)).reason is Reason.DEADLINE

    async def told() -> bool:
        return {runner.agents for runner in await presence.present(redis)} == {("sales",), ("support",)}

    await until(told)
    for launch in launches.values():
        await send(redis, launch, Leave(command_id="c"))
        await one(redis, launch, Ended)
    assert {line.session_id for line in records(record)} == {launch.session_id for launch in launches.values()}


async def test_a_bot_of_an_agent_that_dies_is_replaced_by_the_same_agents_bot(
    redis: Redis, start: Callable[..., Child]
) -> None:
    start(f"sales={SCRIPTED}")
    launch = await offer(redis, agent="sales", body={"do": "be killed once"})
    assert (await one(redis, launch, Queued, attempt=2)).agent == "sales"
    await one(redis, launch, Running, attempt=2)
    await send(redis, launch, Leave(command_id="c"))
    await one(redis, launch, Ended, attempt=2)
    assert [await redis.xlen(launch_stream("sales", attempt)) for attempt in (1, 2)] == [0, 0]


async def test_a_runner_that_dies_hands_the_sessions_of_its_agents_back(
    redis: Redis, start: Callable[..., Child]
) -> None:
    runner = start(f"sales={SCRIPTED}")
    launch = await offer(redis, agent="sales", body={"do": "stay"})
    await one(redis, launch, Running)
    runner.kill()
    again = await one(redis, launch, Queued, attempt=2)
    assert (again.agent, again.reason) == ("sales", Reason.RUNNER_LOST)
    assert await redis.xlen(launch_stream("sales", 2)) == 1


async def test_a_bot_that_does_not_import_takes_no_other_down_and_is_named_in_the_fleet(
    redis: Redis, start: Callable[..., Child]
) -> None:
    start(f"broken={BOTS / 'broken.py'},threaded={BOTS / 'threaded.py'}", BOT=str(SCRIPTED))
    broken, threaded, default = [await offer(redis, agent=name) for name in ("broken", "threaded", "")]
    assert (await one(redis, broken, Failed)).reason is Reason.BOT_IMPORT_ERROR
    for launch in (threaded, default):
        assert (await one(redis, launch, Ended)).reason is Reason.COMPLETED

    async def told() -> bool:
        [runner] = await presence.present(redis)
        assert runner.agents == ("", "broken", "threaded")
        return runner.error.startswith("broken: RuntimeError: half of me is missing")

    await until(told)


async def test_a_fleet_without_a_default_bot_has_none_for_a_room_of_the_environment(children: Children) -> None:
    runner = children.service(
        "runner", BOTS="a=a.py", RUNNER_AUTO_START="1", DAILY_ROOM_URL="https://example.daily.co/room"
    )
    assert await runner.wait() == 1
    assert "BOT: must be set" in runner.output()
