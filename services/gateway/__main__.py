"""The gateway's process: `python -m services.gateway`."""

import signal
import sys

if __name__ == "__main__":
    # The first process of a container is deaf to a signal without a handler, and all that follows takes its time.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    import shared.tracing.kept_out  # noqa: F401 - before anybody imports redis-py

import gc

import uvloop

from services.gateway.app import create_app
from services.gateway.parts import ANSWER_S, assemble
from services.gateway.server import serve
from services.gateway.settings import GatewaySettings
from shared.errors import SettingsError
from shared.process import logs
from shared.redis.connection import connect
from shared.settings import load
from shared.tracing import traces
from shared.tracing.kept_out import opentelemetry_kept_out


async def _run(settings: GatewaySettings) -> None:
    # A reader must see when its connection breaks, so as to find its place again.
    readers = connect(settings.redis_url, retries=0)
    async with connect(settings.redis_url, answer_s=ANSWER_S) as redis, readers as readers_redis:
        parts = assemble(settings, redis, readers_redis)
        with opentelemetry_kept_out():
            app = create_app(parts)
        gc.freeze()  # all this stays: the collector need not look through it again
        await serve(app, parts)


def main() -> int:
    """Run until told to stop; gives the exit code."""
    try:
        settings = load(GatewaySettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.setup("gateway", level=settings.log_level, form=settings.log_format)
    traces.setup("gateway", settings)
    uvloop.run(_run(settings))
    traces.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
