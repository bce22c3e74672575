"""The runner's process: settings, logs, Redis, supervisor; then stand by, or serve one session."""

import signal
import sys

if __name__ == "__main__":
    # The first process of a container is deaf to a signal without a handler, and all that follows takes its time.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    import shared.tracing.kept_out  # noqa: F401 - before anybody imports redis-py

import atexit

from services.runner.forking import mould
from services.runner.settings import RunnerSettings
from shared import settings
from shared.errors import SettingsError

if __name__ == "__main__":
    try:
        loaded = settings.load(RunnerSettings)
    except SettingsError as error:
        sys.exit(f"runner: {error}")
    first = mould.start()  # it and what follows here import side by side
    atexit.register(first.process.kill)

import asyncio
import gc
from contextlib import AsyncExitStack
from functools import partial

import structlog

from services.runner.direct_launch import adopt
from services.runner.forking.forks import Zygote
from services.runner.forking.mould import Mould
from services.runner.live_session import Runner
from services.runner.measured import measured
from services.runner.slots import Slots
from services.runner.supervisor import Supervisor
from shared.activity import ActivityLog
from shared.claims import Claims
from shared.inbox import Inbox
from shared.launches import Launches
from shared.process import logs
from shared.process.health import health_server
from shared.process.lifecycle import shutdown_signals
from shared.process.orphans import adopt_orphans
from shared.process.process_name import process_name
from shared.process.time_slices import PROMPT_S, take_turns_of
from shared.redis.connection import connect
from shared.sealing import Seals
from shared.sweep import Sweep
from shared.tracing import traces

log = structlog.get_logger()


async def main(configuration: RunnerSettings, first: Mould) -> int:
    """Run until told to stop, or until the one session of an auto-start runner is over; `first` is its zygote.

    Gives the exit code: 1 from a runner that was started for a launch and has no bot for it that imports.
    """
    auto_start = configuration.runner_auto_start
    name = process_name()
    # Every call here is made again by whoever makes it; a read that redis-py repeats could lose a claim unseen.
    redis = connect(configuration.redis_url, retries=0)
    agents, seals = configuration.agents, Seals(configuration.payload_keys)
    claims, inbox = Claims(redis, name, agents, seals), Inbox(redis, name, seals)
    launches = Launches(redis, agents, seals)
    runner = Runner(name, "cold" if auto_start else "warm", launches, inbox, ActivityLog(redis), configuration)
    zygote = Zygote(first, logs_output=not logs.for_people(configuration.log_format))
    slots = Slots(1 if auto_start else configuration.runner_slots, zygote)
    sweep = Sweep(redis, lease_s=configuration.lease_s, max_attempts=configuration.max_attempts)
    supervisor = Supervisor(runner, redis, claims, slots, sweep)
    gc.freeze()  # all this stays: the collector need not look through it again
    take_turns_of(PROMPT_S)
    adopt_orphans()  # those that the zygote forks and gives away
    useful = True
    async with AsyncExitStack() as stack:
        shutdown = await stack.enter_async_context(shutdown_signals())
        if port := configuration.health_port:
            tell = await stack.enter_async_context(measured(runner, sweep, zygote.begun))
            await stack.enter_async_context(health_server(port, lambda: supervisor.ready, tell))
        log.info("runner_started", runner=name, start=runner.start, slots=slots.count)
        if not auto_start:
            await supervisor.stand_by(shutdown)
        elif configuration.daily_room_url:
            useful = await supervisor.serve_one(shutdown, partial(adopt, runner, shutdown))
        else:
            useful = await supervisor.serve_one(shutdown, supervisor.next_waiting)
    for connection in (claims, inbox, redis):
        await connection.aclose()
    log.info("runner_stopped", runner=name)
    return int(not useful)


if __name__ == "__main__":
    logs.setup("runner", level=loaded.log_level, form=loaded.log_format)
    traces.setup("runner", loaded)
    exit_code = asyncio.run(main(loaded, first))
    traces.close()
    sys.exit(exit_code)
