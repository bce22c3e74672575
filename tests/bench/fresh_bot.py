"""A bot in a process of its own, as without slots: import it, start an event loop, wait.

`python -m tests.bench.fresh_bot <module>` writes `ready <monotonic ns>` when it could take a session.
"""

import asyncio
import sys
import time

from services.runner.loading.bot_source import load


async def wait() -> None:
    """Ready for a session that never comes."""
    print(f"ready {time.monotonic_ns()}\n", end="", flush=True)  # noqa: T201 - in one piece, or half of it is read
    await asyncio.Event().wait()


if __name__ == "__main__":
    load(sys.argv[1])
    asyncio.run(wait())
