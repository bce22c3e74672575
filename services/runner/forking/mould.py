"""The zygote as a process of this one: started before anything else, for what it imports is what a start waits for.

This module therefore imports next to nothing.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from shared import settings

HOOK = Path(__file__).parents[1] / "call" / "pipecat_hook.py"
UNLESS_SET = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "ORT_DISABLE_TELEMETRY": "1",
    "LOGURU_LEVEL": "WARNING",
}
"""What keeps numeric libraries from starting pools when they are imported, onnxruntime from reporting its use, and
Pipecat from announcing itself; each can be set otherwise."""


class Mould(NamedTuple):
    """A zygote's process and the line to it."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    """A SEQPACKET socket; at its end of file the zygote exits."""


def start() -> Mould:
    """Start a zygote.

    Raises:
        OSError: there is no room for one.
    """
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there:
        try:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "services.runner.forking.zygote", str(there.fileno())],
                pass_fds=[there.fileno()],
                env=environment(),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            here.close()
            raise
    return Mould(process, here)


def environment() -> dict[str, str]:
    """The zygote's: this process's, with what keeps it free of threads unless it is set, and Pipecat's hook.

    What opens all sessions' payloads is not for bots.
    """
    inherited = settings.inherited(PAYLOAD_KEYS=None)
    hooks = [*filter(None, inherited.get("PIPECAT_SETUP_FILES", "").split(os.pathsep)), str(HOOK)]
    return {**UNLESS_SET, **inherited, "PIPECAT_SETUP_FILES": os.pathsep.join(hooks)}
