"""A bot whose import starts a thread, which no fork would take along."""

import threading

from pipecat.runner.types import RunnerArguments

ticking = threading.Event()
thread = threading.Thread(target=ticking.wait, daemon=True)
thread.start()


async def bot(args: RunnerArguments) -> None:
    """Fail unless the thread lives in this process."""
    if not thread.is_alive():
        raise RuntimeError("the thread of the import is not here")
