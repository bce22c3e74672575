"""How a session process ends: by its own hand, and not by the interpreter's way out.

That one would wait for whatever threads and tasks the bot has left behind.
"""

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn


def leave_process(code: int) -> NoReturn:
    """End this process now."""
    flush()
    os._exit(code)


def end_group() -> NoReturn:
    """End this process with all that the bot has started in its group; nobody else would, without a supervisor."""
    flush()
    os.killpg(0, signal.SIGKILL)
    leave_process(1)


def flush() -> None:
    """Let out what was printed, as far as the bot has left streams that can: it may close them, or put others there."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
