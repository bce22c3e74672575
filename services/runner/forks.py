"""The supervisor's side of forking: the zygote it keeps, and the processes it gets from it."""

import asyncio
import ctypes
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from services.runner.pipe import Pipe, Ready, ToSupervisor, open_pipe
from shared import settings

log = structlog.get_logger()

WARM_UP_WITHIN_S = 120.0
"""A process that is not ready after this long never will be."""
ANEW_AFTER_S = 1.0
"""A zygote that died is made anew after this pause, so that one that always dies does not keep the machine busy."""
PR_SET_CHILD_SUBREAPER = 36
HOOK = Path(__file__).with_name("pipecat_hook.py")
WITHOUT_THREADS = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "ORT_DISABLE_TELEMETRY": "1",
}
"""What keeps numeric libraries from starting pools when they are imported, and onnxruntime from reporting its use."""


class ForkFailed(Exception):  # noqa: N818 - it says what it is
    """No process came of a fork; another try may do better."""


class _Moulded(msgspec.Struct, frozen=True):
    import_s: float
    error: str
    late: str


def reap_orphans() -> None:
    """Make this process the parent of the processes that its zygote forks and gives away."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class SessionProcess:
    """A forked process, held by its pidfd: nobody else's process can be meant by it."""

    def __init__(self, pid: int, pipe: Pipe[ToSupervisor]) -> None:
        self.pid = pid
        self.pipe = pipe
        self.exited = asyncio.Event()
        self.exit = ""
        """How it ended, in words, once it has."""
        self._pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    def kill(self) -> None:
        """End it now, with all that it has started in its process group."""
        if not self.exited.is_set():
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def private_mb(self) -> int:
        """How much memory it shares with nobody, in MiB; 0 once it is gone."""
        try:
            rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")) // 1024

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        # Its number is not given to anyone else before it is waited for, so the group is still the one it led.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.exit = self._status()
        os.close(self._pidfd)
        self.pipe.close()
        self.exited.set()

    def _status(self) -> str:
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            result = None
        if result is None:
            return "exited"
        if result.si_code == os.CLD_EXITED:
            return f"exited with code {result.si_status}"
        return f"was killed by {signal.Signals(result.si_status).name}"


class Zygote:
    """The mould, made anew whenever it dies."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._moulded = asyncio.Event()

    async def run(self) -> None:
        """Keep one until cancelled."""
        while True:
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with here:
                with there:
                    process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-m", "services.runner.zygote", str(there.fileno())),
                        pass_fds=[there.fileno()],
                        env=environment(),
                        stdin=asyncio.subprocess.DEVNULL,
                        start_new_session=True,
                    )
                try:
                    await self._greet(here)
                    code = await process.wait()
                    log.warning("zygote_died", code=code)
                finally:
                    self._moulded.clear()
                    self._control = None
                    # At its end of file it exits by itself; not when it is busy importing, or frozen.
                    if process.returncode is None:
                        process.kill()
                        await process.wait()
            await asyncio.sleep(ANEW_AFTER_S)

    async def fork(self) -> SessionProcess:
        """Get a process that has warmed up, as soon as there is a mould.

        Raises:
            ForkFailed: the mould or the process died, or the warm-up took too long.
        """
        await self._moulded.wait()
        here, there = socket.socketpair()
        with there:
            if self._control is None:
                raise ForkFailed("the zygote is gone")
            try:
                socket.send_fds(self._control, [b"fork"], [there.fileno()])
            except OSError as error:
                here.close()
                raise ForkFailed(f"the zygote does not answer: {error}") from error
        pipe: Pipe[ToSupervisor] = await open_pipe(here, ToSupervisor)
        process = None
        try:
            async with asyncio.timeout(WARM_UP_WITHIN_S):
                ready = await pipe.receive()
            if not isinstance(ready, Ready):
                raise ForkFailed("the process ended before it was ready")
            log.debug("slot_warm", pid=ready.pid, warm_up_s=round(ready.warm_up_s, 3))
            process = SessionProcess(ready.pid, pipe)
        except TimeoutError:
            raise ForkFailed(f"the process was not ready after {WARM_UP_WITHIN_S:.0f} s") from None
        finally:
            if process is None:
                pipe.close()
        return process

    async def _greet(self, control: socket.socket) -> None:
        control.setblocking(False)
        started = time.monotonic()
        message = await asyncio.get_running_loop().sock_recv(control, 65536)
        if not message:
            return
        moulded = msgspec.json.decode(message, type=_Moulded)
        if moulded.error:
            log.error("bot_not_importable", error=moulded.error)
        elif moulded.late:
            log.warning("bot_imported_after_fork", why=moulded.late)
        log.info("zygote_ready", import_s=round(moulded.import_s, 2), start_s=round(time.monotonic() - started, 2))
        self._control = control
        self._moulded.set()


def environment() -> dict[str, str]:
    """The zygote's: this process's, with what keeps it free of threads, and Pipecat's hook."""
    hooks = settings.inherited().get("PIPECAT_SETUP_FILES", "").split(os.pathsep)
    quiet = {"LOGURU_LEVEL": settings.inherited().get("LOGURU_LEVEL", "WARNING")}
    return settings.inherited(
        **{**WITHOUT_THREADS, **quiet, "PIPECAT_SETUP_FILES": os.pathsep.join([*filter(None, hooks), str(HOOK)])}
    )
