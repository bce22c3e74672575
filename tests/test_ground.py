"""The test ground itself: what it starts really runs, and what it must notice it does notice."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from shared.contract import Ended, Running
from tests import leaks, machine
from tests.conftest import StartFleet
from tests.launching import SCRIPTED
from tests.processes import Children, children_called
from up.children import living_children


async def test_a_fleet_serves_a_session_from_join_to_leave(fleet_of: StartFleet, tmp_path: Path) -> None:
    async with fleet_of(bot=SCRIPTED, slots=1, BOT_RECORD=str(tmp_path / "record")) as fleet:
        accepted = await fleet.join(transport="none", body={"do": "stay"})
        await fleet.event(accepted["session_id"], Running)
        session = await fleet.session(accepted["session_id"])
        assert (session["status"], session["start"]) == ("running", "warm")
        assert (await fleet.http.delete(f"/sessions/{accepted['session_id']}")).status_code == 202
        await fleet.event(accepted["session_id"], Ended)


def test_a_grandchild_whose_parent_is_gone_is_a_left_over_and_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GONE_WITHIN_S", 0.05)
    before = living_children()
    subprocess.run(["/bin/sh", "-c", "sleep 600 & sleep 601 &"], check=True)
    # A shell's child is called like the shell until it has become what it was started for.
    while len(children_called("sleep", os.getpid())) < 2:
        time.sleep(0.001)
    left = leaks.left_over(before)
    assert sorted(line.partition(": ")[2] for line in left) == ["sleep 600", "sleep 601"]
    assert living_children() == before


async def test_a_child_that_died_is_noticed_while_its_word_is_waited_for(children: Children) -> None:
    child = children.start("short", ["/bin/sh", "-c", "echo hello; exit 3"])
    await child.said("hello")
    with pytest.raises(AssertionError, match="short exited with 3 and never said 'goodbye'"):
        await child.said("goodbye")


async def test_the_end_of_a_process_is_waited_for_with_its_exit_code(children: Children) -> None:
    child = children.start("long", ["sleep", "600"])
    with pytest.raises(AssertionError, match="still there"):
        await child.wait(within_s=0.05)
    os.kill(child.pid, signal.SIGTERM)
    assert await child.wait() == -signal.SIGTERM


def test_a_missing_program_is_a_skip_here_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PROGRAMS", {"no-such-program": "nothing was tried"})
    assert machine.missing() == ["no-such-program is not installed: nothing was tried"]
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI must have it"):
        machine.need("no-such-program")
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="nothing was tried"):
        machine.need("no-such-program")
