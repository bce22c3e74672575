"""The runner's process: settings, logs, Redis, supervisor; then stand by, or serve one session."""

import signal
import sys

if __name__ == "__main__":
    # The first process of a container is deaf to a signal without a handler, and all that follows takes its time.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    import shared.kept_out  # noqa: F401 - before anybody imports redis-py

import asyncio
import gc
from functools import partial

from services.runner.direct_launch import adopt
from services.runner.forks import Zygote
from services.runner.live_session import Runner
from services.runner.settings import RunnerSettings
from services.runner.slots import Slots
from services.runner.supervisor import Supervisor
from shared import logs, settings, traces
from shared.activity import ActivityLog
from shared.claims import Claims
from shared.commands import Inbox
from shared.errors import SettingsError
from shared.health import health_server
from shared.launches import Launches
from shared.lifecycle import shutdown_signals
from shared.orphans import adopt_orphans
from shared.process_name import process_name
from shared.redis_connection import connect
from shared.sweep import Sweep


async def main(configuration: RunnerSettings) -> None:
    """Run until told to stop, or until the one session of an auto-start runner is over."""
    auto_start = configuration.runner_auto_start
    name = process_name()
    # Every call here is made again by whoever makes it; a read that redis-py repeats could lose a claim unseen.
    redis = connect(configuration.redis_url, retries=0)
    agents = configuration.agents
    claims, inbox, launches = Claims(redis, name, agents), Inbox(redis, name), Launches(redis, agents)
    runner = Runner(name, "cold" if auto_start else "warm", launches, inbox, ActivityLog(redis), configuration)
    zygote = Zygote(logs_output=not logs.for_people(configuration.log_format))
    slots = Slots(1 if auto_start else configuration.runner_slots, zygote)
    sweep = Sweep(redis, lease_s=configuration.lease_s, max_attempts=configuration.max_attempts)
    supervisor = Supervisor(runner, redis, claims, slots, sweep)
    gc.freeze()  # all this stays: the collector need not look through it again
    adopt_orphans()  # those that the zygote forks and gives away
    async with shutdown_signals() as shutdown, health_server(configuration.health_port, lambda: supervisor.ready):
        if not auto_start:
            await supervisor.stand_by(shutdown)
        elif configuration.daily_room_url:
            await supervisor.serve_one(shutdown, partial(adopt, runner, shutdown))
        else:
            await supervisor.serve_one(shutdown, supervisor.next_waiting)
    for connection in (claims, inbox, redis):
        await connection.aclose()


if __name__ == "__main__":
    try:
        loaded = settings.load(RunnerSettings)
    except SettingsError as error:
        sys.exit(f"runner: {error}")
    logs.setup("runner", level=loaded.log_level, form=loaded.log_format)
    traces.setup("runner", loaded)
    asyncio.run(main(loaded))
    traces.close()
