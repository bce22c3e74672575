"""A deadline that the kernel keeps: it ends this process with SIGKILL, which no bot can catch, ignore or put off.

`setitimer` and `alarm` belong to whoever calls them last, and their signal to whoever handles it. A POSIX timer is this
module's own, and may send any signal: see timer_create(2).
"""

import ctypes
import os
import signal
import time

_CLOCK_MONOTONIC = 1
_SIGEV_SIGNAL = 0


class _SigEvent(ctypes.Structure):
    # struct sigevent of Linux: 64 bytes, of which a signal needs three fields.
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_byte * 48),
    )


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class KernelTimer:
    """One timer of this process; a fork has none of its parent's."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = ctypes.c_void_p()
        event = _SigEvent(signo=signal.SIGKILL, notify=_SIGEV_SIGNAL)
        self._check(self._libc.timer_create(_CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(self._timer)))

    def kill_at(self, at: float) -> None:
        """End this process at a time of the monotonic clock; a later call moves it. A time that is past is now."""
        left_s = max(at - time.monotonic(), 1e-6)
        whole = int(left_s)
        spec = _TimerSpec(value=_TimeSpec(whole, int((left_s - whole) * 1e9)))
        self._check(self._libc.timer_settime(self._timer, 0, ctypes.byref(spec), None))

    def stop(self) -> None:
        """Let this process live on."""
        self._check(self._libc.timer_settime(self._timer, 0, ctypes.byref(_TimerSpec()), None))

    def _check(self, result: int) -> None:
        if result:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
