"""OpenTelemetry is kept out of a process that has not asked for it.

redis-py imports the SDK and Litestar the API wherever they are installed, in case somebody wants telemetry of theirs.
Whoever imports this before anything else does not pay for redis-py's: 1.7 MB, and its share of the start.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_UNWANTED = "opentelemetry"


@contextmanager
def opentelemetry_kept_out() -> Iterator[None]:
    """What is imported here finds no OpenTelemetry, unless it is in use already."""
    if _UNWANTED in sys.modules:
        yield
        return
    sys.modules[_UNWANTED] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_UNWANTED]


with opentelemetry_kept_out():
    import redis.asyncio
    import redis.asyncio.sentinel  # noqa: F401 - for all that follows
