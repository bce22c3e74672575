"""How soon the kernel lets a process run that has just been given something to do.

Linux (from 6.12) runs first whose slice of time is shorter, and takes the processor from whoever runs for it. It moves
nobody's share, only who waits: a warm-up, for which nobody waits, lets a launch go first. Elsewhere it has no effect.
"""

import ctypes
import os
import platform
import struct

PROMPT_S = 0.0001
"""For who has somebody waiting: the shortest that there is."""
PATIENT_S = 0.1
"""For who has nobody waiting: the longest."""

_KEEP_POLICY = 0x08
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}.get(platform.machine())
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_syscall = ctypes.CDLL(None, use_errno=True).syscall


def take_turns_of(slice_s: float) -> None:
    """Have slices of this length from now on, and those forked from here; what the kernel does not know it refuses."""
    if _SCHED_SETATTR is not None:
        attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, 0, _KEEP_POLICY, os.nice(0), 0, int(slice_s * 1e9), 0, 0)
        _syscall(_SCHED_SETATTR, 0, attributes, 0)
