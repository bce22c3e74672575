"""What bots print and native libraries write becomes lines of the log, and holds no bot up."""

import json
from pathlib import Path
from typing import Any

from tests.conftest import StartFleet
from tests.processes import Child
from tests.waiting import until

BOT = "tests.bots.printing"


def lines(child: Child, event: str | None = "bot_output") -> list[dict[str, Any]]:
    """The lines of this event, or all; a line that is no JSON fails the test."""
    told = [json.loads(line) for line in child.output().split("\n")[:-1]]
    return [line for line in told if event in {line["event"], None}]


async def test_whatever_a_bot_writes_is_a_line_with_its_session_and_without_its_tokens(fleet_of: StartFleet) -> None:
    async with fleet_of(bot=BOT, slots=1, operator=False) as fleet:
        body = {"do": "say", "token": "the-rooms-token"}
        joined = await fleet.join(wait_s=20, transport="none", token="the-rooms-token", body=body)
        runner = fleet.runners[0]
        await until(lambda: any("hidden too" in line["said"] for line in lines(runner)))
        await fleet.http.post("/leave", json={"session_id": joined["session_id"]})
        await runner.said("attempt_over")
        said = lines(runner)
        [warned] = [one for one in lines(runner, None) if "a warning" in one["event"]]
    assert [one["said"] for one in said] == [
        "by print [token]",
        "to the error",
        "past python",
        "of a child",
        "and [token] is hidden too",
        "without an endleaving",
    ]
    assert {(one["session_id"], one["attempt"]) for one in [*said, warned]} == {(joined["session_id"], 1)}
    assert all(one["trace_id"] for one in said)
    assert "the-rooms-token" not in runner.output()
    assert "found-later" not in runner.output()


async def test_the_last_words_of_a_bot_that_crashes_are_in_the_log_with_the_place_of_the_crash(
    fleet_of: StartFleet,
) -> None:
    async with fleet_of(bot=BOT, slots=1, operator=False, MAX_ATTEMPTS="1") as fleet:
        joined = await fleet.join(transport="none", body={"do": "crash"})
        session = await fleet.until_status(joined["session_id"], "failed")
        said = [one["said"] for one in lines(fleet.runners[0]) if one["session_id"] == joined["session_id"]]
    assert "SIGSEGV" in session["timeline"][-1]["message"]
    assert said[:2] == ["the last words", "Fatal Python error: Segmentation fault"]
    assert any("in crash" in line for line in said)


async def test_a_bot_that_writes_without_end_is_not_held_up_and_does_not_fill_the_log(
    fleet_of: StartFleet, tmp_path: Path
) -> None:
    async with fleet_of(bot=BOT, slots=1, operator=False) as fleet:
        took = tmp_path / "took"
        await fleet.join(wait_s=20, transport="none", body={"do": "flood", "record": str(took)})
        runner = fleet.runners[0]
        await until(lambda: lines(runner) and lines(runner, "bot_output_skipped"))
    assert float(took.read_text()) < 2
    assert len(runner.output()) < 200_000


async def test_the_last_words_of_a_bot_that_said_too_much_are_in_the_log_and_so_is_how_much_is_not(
    fleet_of: StartFleet,
) -> None:
    """Where a chatty bot had crashed was among the lines that were left out, and nothing said that there were any."""
    async with fleet_of(bot=BOT, slots=1, operator=False, MAX_ATTEMPTS="1") as fleet:
        joined = await fleet.join(transport="none", body={"do": "flood and crash"})
        await fleet.until_status(joined["session_id"], "failed")
        said = lines(fleet.runners[0])
        [over] = lines(fleet.runners[0], "attempt_over")
    assert any("in flood_and_crash" in line["said"] for line in said)
    written = [line["said"] for line in said]
    crash = written[written.index("the last words") :]
    assert len(said) < 400
    before = len(written) - len(crash)
    assert before + sum(line.get("dropped", 0) for line in said) == 5_000
    assert over["level"] == "warning"


async def test_a_bot_whose_supervisor_is_gone_can_still_print(fleet_of: StartFleet, tmp_path: Path) -> None:
    async with fleet_of(bot=BOT, slots=1, operator=False) as fleet:
        left = tmp_path / "left"
        await fleet.join(wait_s=20, transport="none", body={"do": "nothing", "left": str(left)})
        fleet.runners[0].kill()
        await until(lambda: left.exists() and left.read_text())
    assert left.read_text() == "after printing"
