"""How long a session is without its bot, measured from the blow to the next `running`, and held to the promises."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Callable

import pytest

from services.runner.forking.process_names import SESSION_PROCESS
from shared.contract import Running, Status
from tests.faults.bench import Bench
from tests.faults.callers import Call
from tests.faults.conftest import StartBench, Tell
from tests.processes import children_called

PROMISES = "The measured promises:"
DEFAULT_LEASE_S = 20.0
SHORT_LEASE_S = 2.0
TIMES = pytest.mark.parametrize(
    "times", [pytest.param(3, id="three times"), pytest.param(50, id="fifty times", marks=pytest.mark.slow)]
)


async def again_after_s(bench: Bench, blow: Callable[[Call], None]) -> float:
    """From the blow to the next attempt in its room; then the call ends."""
    call = await bench.callers.join(do="stay")
    await bench.callers.until_each([call], lambda one: one.saw(Running))
    attempt = call.now.attempt if call.now else 1
    started = time.monotonic()
    blow(call)

    def back(one: Call) -> bool:
        return one.now is not None and one.now.attempt > attempt and one.now.status is Status.RUNNING

    await bench.callers.until_each([call], back)
    took_s = time.monotonic() - started
    await bench.callers.see_to_end()
    return took_s


def report(what: str, took_s: list[float]) -> str:
    middle, longest = statistics.median(took_s), max(took_s)
    return f"{what}: {len(took_s)} times, p50 {middle:.3f} s, longest {longest:.3f} s"


@TIMES
@pytest.mark.timeout(400)
async def test_a_killed_session_process_is_replaced_in_well_under_a_second(
    bench_of: StartBench, times: int, tell: Tell
) -> None:
    async with bench_of(runners=1, slots=2, LEASE=str(DEFAULT_LEASE_S)) as bench:

        def blow(call: Call) -> None:
            os.kill(bench.bot_pids(call)[-1], signal.SIGKILL)

        took_s = [await again_after_s(bench, blow) for _ in range(times)]
        tell(report("a killed session process", took_s), PROMISES)
        assert statistics.median(took_s) < 0.6
        assert max(took_s) < 1.5
        await bench.judge("session process", "SIGKILL", "running")


@TIMES
@pytest.mark.timeout(600)
async def test_the_session_of_a_killed_supervisor_runs_on_another_runner_within_three_seconds(
    bench_of: StartBench, times: int, tell: Tell
) -> None:
    async with bench_of(runners=2, slots=1, LEASE=str(DEFAULT_LEASE_S)) as bench:
        took_s = []
        for _ in range(times):
            struck: list[int] = []

            def blow(call: Call, struck: list[int] = struck) -> None:
                struck.append(bench.runner_of([call]))
                bench.runners[struck[0]].kill()

            took_s.append(await again_after_s(bench, blow))
            await bench.replace_runner(struck[0])
            await bench.until_whole()
        tell(report("a killed supervisor", took_s), PROMISES)
        assert max(took_s) < 3.0
        await bench.judge("supervisor", "SIGKILL", "running")


@TIMES
@pytest.mark.timeout(900)
async def test_the_session_of_a_dead_host_runs_on_another_within_the_lease_and_two_seconds(
    bench_of: StartBench, times: int, tell: Tell
) -> None:
    async with bench_of(runners=3, slots=1, LEASE=str(SHORT_LEASE_S)) as bench:
        took_s = []
        for _ in range(times):
            struck: list[int] = []

            def blow(call: Call, struck: list[int] = struck) -> None:
                struck.append(bench.runner_of([call]))
                bench.kill_host(struck[0])

            took_s.append(await again_after_s(bench, blow))
            # Two are left meanwhile: the next one to be struck, and the one that takes over.
            await bench.replace_runner(struck[0])
        tell(report(f"a dead host, with a lease of {SHORT_LEASE_S:g} s", took_s), PROMISES)
        assert max(took_s) < SHORT_LEASE_S + 2.0
        await bench.judge("host", "SIGKILL", "running")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_thirty_calls_go_on_while_redis_is_killed_and_comes_back_after_ten_seconds(
    bench_of: StartBench, tell: Tell
) -> None:
    async with bench_of(runners=3, slots=10, LEASE=str(DEFAULT_LEASE_S)) as bench:
        await bench.callers.running(30)
        await bench.restart_redis(signal.SIGKILL, 10.0)
        # Whoever had been fenced would be restarted by now, or soon: one more lease.
        await asyncio.sleep(DEFAULT_LEASE_S + 3.0)
        assert await bench.callers.look()
        assert [
            call.story() for call in bench.callers.calls if not call.now or call.now.status is not Status.RUNNING
        ] == []
        await bench.callers.see_to_end()
        row = await bench.judge("redis", "SIGKILL", "running")
        line = f"30 calls, Redis away for 10 s: {row.restarted} restarted, longest silence {row.silence_s:.3f} s"
        tell(line, PROMISES)
        assert (row.ended, row.failed, row.restarted) == (30, 0, 0)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_rolling_restart_of_three_runners_ends_and_restarts_none_of_thirty_calls(
    bench_of: StartBench, tell: Tell
) -> None:
    async with bench_of(runners=3, slots=10, LEASE=str(DEFAULT_LEASE_S)) as bench:
        old = await bench.callers.running(30)
        for number, runner in enumerate(list(bench.runners)):
            runner.terminate()
            await runner.said("draining")
            await bench.replace_runner(number)
            await bench.until_warm(number)
        assert all(runner.exit_code is None for runner in bench.retired)
        new = await bench.callers.running(6)
        bots = {pid for call in new for pid in bench.bot_pids(call)}
        assert bots <= {pid for runner in bench.runners for pid in children_called(SESSION_PROCESS, runner.pid)}
        assert await bench.callers.look()
        assert [call.story() for call in old if not call.now or call.now.status is not Status.RUNNING] == []
        await bench.callers.see_to_end()
        row = await bench.judge("supervisor", "SIGTERM", "running")
        line = f"30 calls, 3 runners restarted: {row.restarted} restarted, longest silence {row.silence_s:.3f} s"
        tell(line, PROMISES)
        assert (row.ended, row.failed, row.restarted) == (36, 0, 0)


@pytest.mark.parametrize(
    ("joins", "kills"),
    [
        pytest.param(100, 2, id="a hundred, two kills"),
        pytest.param(1000, 5, id="a thousand, five kills", marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(400)
async def test_no_join_is_lost_or_doubled_while_redis_is_killed_again_and_again(
    bench_of: StartBench, joins: int, kills: int, tell: Tell
) -> None:
    async with bench_of(runners=2, slots=4, LEASE=str(DEFAULT_LEASE_S)) as bench:
        at_once = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            async with at_once:
                await bench.callers.join(gateway=number % 2, do="return")

        joining = asyncio.gather(*(one(number) for number in range(joins)))
        for kill in range(1, kills + 1):
            await bench.callers.until_accepted(joins * kill // (kills + 1))
            await bench.restart_redis(signal.SIGKILL, 0.2)
        await joining
        await bench.callers.see_to_end(120)
        doubled = [call.story() for call in bench.callers.calls if call.begun() > 1]
        assert doubled == [], "\n".join(doubled)
        row = await bench.judge("redis", "SIGKILL", "queued")
        line = f"{joins} joins, Redis killed {kills} times: {row.ended} ended, {row.failed} failed"
        tell(line, PROMISES)
        assert row.accepted == row.ended == joins
