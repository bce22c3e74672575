"""`python -m services.operator`: cold runners for launches that no warm runner took, and a sweep of what is broken."""

import asyncio
import sys
from contextlib import AsyncExitStack, aclosing

import structlog

from services.operator.kubernetes_side import kubernetes_side
from services.operator.launcher import Launcher
from services.operator.overflow import Overflow
from services.operator.processes import Processes
from services.operator.settings import OperatorSettings
from services.operator.share import Share
from shared import logs, redis_connection
from shared.errors import SettingsError
from shared.health import health_server
from shared.lifecycle import shutdown_signals
from shared.process_name import process_name
from shared.settings import load
from shared.sweep import Sweep

log = structlog.get_logger()

SWEEP_EVERY_S = 1.0


async def main(settings: OperatorSettings) -> None:
    """Run until told to stop; cold runners of this process that are in a call finish it first."""
    name = process_name()
    processes = Processes(settings.cold_max)
    launcher: Launcher | None = processes if settings.launcher == "process" else None
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(redis_connection.connect(settings.redis_url, retries=0))
        shutdown = await stack.enter_async_context(shutdown_signals())
        sweep = Sweep(redis, lease_s=settings.lease_s, max_attempts=settings.max_attempts)
        if settings.launcher == "kubernetes":
            launcher = await stack.enter_async_context(kubernetes_side(redis, sweep, settings))
        share = await stack.enter_async_context(aclosing(Share(redis, name)))
        overflow = Overflow(redis, share, launcher, settings)
        await stack.enter_async_context(health_server(settings.health_port, overflow.ready))
        log.info("operator_started", operator=name, launcher=settings.launcher, cold_max=settings.cold_max)
        async with asyncio.TaskGroup() as group:
            sweeping = group.create_task(sweep.run(SWEEP_EVERY_S))
            await overflow.run(shutdown.asked)
            sweeping.cancel()
        await processes.stop(shutdown)
    log.info("operator_stopped", operator=name)


if __name__ == "__main__":
    try:
        settings = load(OperatorSettings)
    except SettingsError as error:
        sys.exit(f"operator: {error}")
    logs.setup("operator", level=settings.log_level, form=settings.log_format)
    asyncio.run(main(settings))
