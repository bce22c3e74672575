"""What a runner tells of itself, and what that costs one that is not asked."""

import signal
import subprocess
import sys

from shared.contract import CLAIMS, LAUNCH, Queued, Running
from shared.launches import Launches
from shared.redis.connection import Redis
from tests.launching import SCRIPTED, offer
from tests.processes import ROOT, Children, free_port, session_event
from tests.scraping import scrape


async def test_a_lease_that_another_has_taken_is_counted_once(redis: Redis, children: Children) -> None:
    port = free_port()
    env = {"BOT": str(SCRIPTED), "BOT_RECORD": "/dev/null", "LEASE": "2", "HEALTH_PORT": str(port)}
    runner = children.service("runner", **env)
    launch = await offer(redis, body={"do": "stay"})
    await session_event(redis, launch.session_id, Running)
    ((entry, _),) = await Launches(redis).live(1)
    await redis.xclaim(LAUNCH, CLAIMS, "another", 0, [entry])
    await runner.said("lease_lost")
    found = await scrape([port])
    assert found.total("pipefleet_leases_lost_total", how="taken") == 1
    assert found.total("pipefleet_leases_lost_total", how="fenced") == 0


async def test_a_lease_that_could_not_be_renewed_and_is_anothers_by_then_is_counted_once(
    redis: Redis, children: Children
) -> None:
    """A frozen runner counted three lost leases for each session."""
    port = free_port()
    env = {"BOT": str(SCRIPTED), "BOT_RECORD": "/dev/null", "LEASE": "2", "HEALTH_PORT": str(port)}
    runner = children.service("runner", **env)
    launch = await offer(redis, body={"do": "stay"})
    await session_event(redis, launch.session_id, Running)
    runner.signal(signal.SIGSTOP)
    # Its session process hands the session back when it hears nothing any more.
    await session_event(redis, launch.session_id, Queued, attempt=2)
    runner.signal(signal.SIGCONT)
    await session_event(redis, launch.session_id, Running, attempt=2)
    found = await scrape([port])
    lost = [found.total("pipefleet_leases_lost_total", how=how) for how in ("taken", "fenced")]
    assert sum(lost) == 1, lost


def test_a_runner_that_nobody_asks_does_not_import_what_tells_metrics() -> None:
    script = "import sys, services.runner.__main__; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
