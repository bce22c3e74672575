"""What a test left behind."""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

from up.children import living_children

GONE_WITHIN_S = 3.0
"""For processes that were told to end, and are about to."""


def left_over(before: set[int]) -> list[str]:
    """The child processes that were not there before and do not go; they are killed, and described."""
    found = []
    for pid in sorted(living_children() - before):
        with suppress(OSError):
            handle = os.pidfd_open(pid)
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if not select.select([handle], [], [], GONE_WITHIN_S)[0]:
                found.append(f"{pid}: {command.strip()}")
                os.kill(pid, signal.SIGKILL)
                select.select([handle], [], [])
            os.close(handle)
    return found
