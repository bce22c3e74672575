"""The supervisor's side of forking: the zygote it keeps, and the processes it gets from it."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from services.runner.forking.mould import Mould, start
from services.runner.logs.bot_output import BotOutput
from services.runner.pipe import READY_WITHIN_S, Forked, Moulded, Pipe, Ready, ToSupervisor, open_pipe
from shared.process.lifecycle import signal_name

log = structlog.get_logger()

STILL_IMPORTING_S = 30.0
ANEW_AFTER_S = 1.0
"""A zygote that died is made anew after this pause, so that one that always dies does not keep the machine busy."""


class ForkFailed(Exception):  # noqa: N818 - it says what it is
    """No process came of a fork; another try may do better."""


class SessionProcess:
    """A forked process, held by its pidfd: nobody else's process can be meant by it."""

    def __init__(self, pid: int, pipe: Pipe[ToSupervisor], output: BotOutput | None) -> None:
        self.pid = pid
        self.pipe = pipe
        self.output = output
        """What it prints; None where that passes as it is."""
        self.exited = asyncio.Event()
        self.exit = ""
        """How it ended, in words, once it has."""
        self._pidfd = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    def kill(self) -> None:
        """End it now, with all that it has started in its process group."""
        if not self.exited.is_set():
            with suppress(ProcessLookupError):
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
        if self.output:
            self.output.close()
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
        return f"was killed by {signal_name(result.si_status)}"


class Zygote:
    """The mould, made anew whenever it dies; `first` may have been started already.

    With `logs_output`, what processes print becomes lines of the log.
    """

    def __init__(self, first: Mould | None = None, *, logs_output: bool) -> None:
        self.begun = asyncio.Event()
        """Its first process is on its way."""
        self.errors: dict[str, str] = {}
        """Why the bots of some agents do not import, by agent; empty if all do, or are not known not to."""
        self.late: dict[str, str] = {}
        """Why the bots of some agents are imported by each session process, by agent."""
        self.moulded = asyncio.Event()
        """There is a mould, and it forks."""
        self._first = first
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._forked: set[SessionProcess] = set()
        self._logs_output = logs_output

    @property
    def error(self) -> str:
        """Which bots do not import, and why, in one text; empty as `errors` is."""
        return "; ".join(f"{agent}: {error}" if agent else error for agent, error in self.errors.items())

    def pids(self) -> set[int]:
        """The process ids of the zygote and of all that it has forked and that live."""
        self._forked = {process for process in self._forked if not process.exited.is_set()}
        return {process.pid for process in self._forked} | ({self._process.pid} if self._process else set())

    async def run(self) -> None:
        """Keep one until cancelled."""
        while True:
            try:
                await self._live()
            except OSError as error:
                log.warning("zygote_not_started", error=str(error))
            await asyncio.sleep(ANEW_AFTER_S)

    async def fork(self) -> SessionProcess:
        """Get a process that has warmed up, as soon as there is a mould.

        Raises:
            ForkFailed: the mould or the process died, or the warm-up took too long.
        """
        await self.moulded.wait()
        output = BotOutput() if self._logs_output else None
        pipe: Pipe[ToSupervisor] | None = None
        process: SessionProcess | None = None
        warm = False
        try:
            pipe = await self._ask(output)
            async with asyncio.timeout(READY_WITHIN_S):
                forked = await pipe.receive()
                if isinstance(forked, Forked):
                    process = SessionProcess(forked.pid, pipe, output)
                    self._forked.add(process)
                    warm = isinstance(await pipe.receive(), Ready)
        except TimeoutError:
            if process is None and self._process:
                self._process.kill()  # frozen, it would be asked for ever
        finally:
            if process and not warm:
                process.kill()
            elif pipe and not warm:
                pipe.close()
            if output and process is None:
                output.close()
        if process is None or not warm:
            raise ForkFailed("the process was not ready in time, or ended before")
        return process

    async def _ask(self, output: BotOutput | None) -> Pipe[ToSupervisor]:
        """Send the zygote one end of a new pipe, and give the other."""
        here, there = socket.socketpair()
        with there:
            try:
                if self._control is None:
                    raise ForkFailed("the zygote is gone")
                fds = [there.fileno(), *([output.fd] if output else [])]
                socket.send_fds(self._control, [b"fork"], fds)
            except (ForkFailed, OSError) as error:
                here.close()
                raise ForkFailed(f"the zygote does not answer: {error}") from error
        return await open_pipe(here, ToSupervisor)

    async def _live(self) -> None:
        """See one to its end: the first, or a new one."""
        mould, self._first = self._first or start(), None
        self._process = mould.process
        self.begun.set()
        with mould.control:
            try:
                await self._greet(mould.control)
                log.warning("zygote_died", code=await _exited(mould.process))
            finally:
                self.moulded.clear()
                self._control = None
                # At its end of file it exits by itself; not when it is busy importing, or frozen.
                mould.process.kill()
                await _exited(mould.process)
                self._process = None

    async def _greet(self, control: socket.socket) -> None:
        """Wait until it has moulded; say so now and then while it has not."""
        control.setblocking(False)
        started = time.monotonic()
        message = b""
        while not message:
            try:
                async with asyncio.timeout(STILL_IMPORTING_S):
                    message = await asyncio.get_running_loop().sock_recv(control, 65536)
                    if not message:
                        return
            except TimeoutError:
                log.warning("bot_still_importing", for_s=round(time.monotonic() - started))
        moulded = msgspec.json.decode(message, type=Moulded)
        self.errors, self.late = moulded.errors, moulded.late
        for agent, error in moulded.errors.items():
            log.error("bot_not_importable", agent=agent, error=error)
        for agent, why in moulded.late.items():
            log.warning("bot_imported_after_fork", agent=agent, why=why)
        log.info("zygote_ready", import_s=round(moulded.import_s, 2), start_s=round(time.monotonic() - started, 2))
        self._control = control
        self.moulded.set()


async def _exited(process: "subprocess.Popen[bytes]") -> int:
    """Wait until it has, and for its exit code; the event loop goes on meanwhile."""
    if process.poll() is None:
        loop, exited = asyncio.get_running_loop(), asyncio.Event()
        pidfd = os.pidfd_open(process.pid)
        loop.add_reader(pidfd, exited.set)
        try:
            await exited.wait()
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
    return process.wait()


class Strays:
    """Processes that a bot has left behind, and that have become this process's children with its death.

    The dead ones are waited for. A living one that belongs to no session is ended when it is met for the second time:
    at the first it may be a fork that has not yet said who it is.
    """

    def __init__(self) -> None:
        self._met: set[int] = set()

    def end(self, known: set[int]) -> None:
        """Look through the children that are not `known`."""
        met: set[int] = set()
        for pid in _children() - known:
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    continue
            if pid in self._met:
                log.warning("stray_process_ended", pid=pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            met.add(pid)
        self._met = met


def _children() -> set[int]:
    listings = Path("/proc/self/task").glob("*/children")
    return {int(pid) for listing in listings for pid in listing.read_text().split()}
