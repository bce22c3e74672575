"""`python -m services.operator`: cold runners for launches that no warm runner took, and a sweep of what is broken."""

import signal
import sys

if __name__ == "__main__":
    # The first process of a container is deaf to a signal without a handler, and all that follows takes its time.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    import shared.tracing.kept_out  # noqa: F401 - before anybody imports redis-py

import asyncio
from contextlib import AsyncExitStack, aclosing

import structlog

from services.operator.launcher import Launcher
from services.operator.metrics import feed_counts
from services.operator.metrics.feed_counts import FeedCounts
from services.operator.metrics.fleet_gauges import FleetGauges
from services.operator.overflow import Overflow
from services.operator.processes import Processes
from services.operator.settings import OperatorSettings
from services.operator.share import Share
from services.operator.webhooks.deliveries import Webhooks
from services.operator.webhooks.sender import sender
from shared.errors import SettingsError
from shared.metrics import measuring, tallies_of
from shared.process import logs
from shared.process.health import health_server
from shared.process.lifecycle import shutdown_signals
from shared.process.process_name import process_name
from shared.redis import connection
from shared.redis.connection import Redis
from shared.settings import load
from shared.sweep import Sweep
from shared.tracing import traces

log = structlog.get_logger()

SWEEP_EVERY_S = 1.0


async def main(settings: OperatorSettings) -> None:
    """Run until told to stop; cold runners of this process that are in a call finish it first."""
    name = process_name()
    processes = Processes(settings.cold_max)
    launcher: Launcher | None = processes if settings.launcher == "process" else None
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(connection.connect(settings.redis_url, retries=0))
        shutdown = await stack.enter_async_context(shutdown_signals())
        sweep = Sweep(redis, lease_s=settings.lease_s, max_attempts=settings.max_attempts)
        if settings.launcher == "kubernetes":
            from services.operator.kubernetes.side import kubernetes_side  # noqa: PLC0415 - who has no cluster does not pay

            launcher = await stack.enter_async_context(kubernetes_side(redis, sweep, settings))
        share = await stack.enter_async_context(aclosing(Share(redis, name, settings.agents)))
        overflow = Overflow(redis, share, launcher, settings)
        if port := settings.health_port:
            feed_counts.begin(settings.launcher, settings.agents)
            await stack.enter_async_context(measuring("operator", *tallies_of(sweep, "operator")))
            await stack.enter_async_context(health_server(port, overflow.ready, FleetGauges(redis).text))
        log.info("operator_started", operator=name, launcher=settings.launcher, cold_max=settings.cold_max)
        async with asyncio.TaskGroup() as group:
            sweeping = group.create_task(sweep.run(SWEEP_EVERY_S))
            if settings.health_port:
                group.create_task(FeedCounts(redis, name).run(shutdown.asked))
            if settings.webhook_url:
                group.create_task(send_webhooks(redis, name, settings, shutdown.asked))
            await overflow.run(shutdown.asked)
            sweeping.cancel()
        await processes.stop(shutdown)
    log.info("operator_stopped", operator=name)


async def send_webhooks(redis: Redis, name: str, settings: OperatorSettings, stop: asyncio.Event) -> None:
    """Send the fleet's events until told to stop."""
    async with sender(
        settings.webhook_url, settings.webhook_secret, allow_private=settings.webhook_allow_private
    ) as to_receiver:
        await Webhooks(redis, name, to_receiver, settings.webhook_types).run(stop)


if __name__ == "__main__":
    try:
        settings = load(OperatorSettings)
    except SettingsError as error:
        sys.exit(f"operator: {error}")
    logs.setup("operator", level=settings.log_level, form=settings.log_format)
    traces.setup("operator", settings)
    asyncio.run(main(settings))
    traces.close()
