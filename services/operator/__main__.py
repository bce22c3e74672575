"""`python -m services.operator`: cold runners for launches that no warm runner took, and a sweep of what is broken."""

import asyncio
import os
import secrets
import socket
import sys
from contextlib import aclosing

import structlog

from services.operator.overflow import Overflow
from services.operator.processes import Processes
from services.operator.settings import OperatorSettings
from services.operator.share import Share
from shared import logs, redis_connection
from shared.errors import SettingsError
from shared.health import health_server
from shared.lifecycle import shutdown_signals
from shared.settings import load
from shared.sweep import Sweep

log = structlog.get_logger()

SWEEP_EVERY_S = 1.0


async def main(settings: OperatorSettings) -> None:
    """Run until told to stop; cold runners that are in a call finish it first."""
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    processes = Processes()
    async with redis_connection.connect(settings.redis_url, retries=0) as redis, shutdown_signals() as shutdown:
        share = Share(redis, name, settings.agents)
        sweep = Sweep(redis, lease_s=settings.lease_s, max_attempts=settings.max_attempts)
        overflow = Overflow(redis, share, processes if settings.launcher == "process" else None, settings)
        async with aclosing(share), health_server(settings.health_port, overflow.ready):
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
