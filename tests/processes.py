"""The fleet's services as real processes, for tests that start, kill and watch them."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx

from services.runner.forking.process_names import SESSION_PROCESS
from shared import contract
from shared.contract import AnyEvent, Event
from shared.events import decode
from shared.redis import streams
from shared.redis.connection import Redis

ROOT = Path(__file__).parent.parent
START_S = 60.0
"""Importing Pipecat on a busy machine takes its time."""
STOP_S = 20.0
POLITE_S = (0.2, 5.0)
"""How long a test's processes may take to end when asked, and when asked again, before they are killed. Those that have
a call end when they are asked again, which a test that is over need not wait for."""
PORTS = range(20_000, 30_000)
"""Below those that Linux gives to connections."""
_port_numbers = count(random.randrange(len(PORTS)))  # noqa: S311
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")

E = TypeVar("E", bound=Event)


class Child:
    """A process in a session of its own, with its output in a file. Its variables are `env` and no more of ours."""

    def __init__(
        self, name: str, command: list[str], env: Mapping[str, str], log: Path, pass_fds: tuple[int, ...] = ()
    ) -> None:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**kept, "PYTHONUNBUFFERED": "1", **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        self.pid = self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """As `subprocess` has it: negative for a signal, None while the process lives."""
        return self._popen.poll()

    def signal(self, number: signal.Signals) -> None:
        """To this process alone."""
        self._popen.send_signal(number)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """The process alone, as the kernel or a cluster does it; what it started lives on."""
        self.signal(signal.SIGKILL)

    def kill_all(self) -> None:
        """The process with everything in its session that has not left it, as when a host dies."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self, within_s: float = STOP_S) -> int:
        """Its exit code, once it has one."""
        await until_gone(self.pid, within_s)
        return self._popen.wait()

    def output(self) -> str:
        """All it has written so far."""
        return self.log.read_text(errors="replace")

    def traces(self) -> list[str]:
        """Where it has written a traceback: as Python does, or as a line of the log has it."""
        marks = ("Traceback", '"exception":')
        return [line for line in self.output().splitlines() if any(mark in line for mark in marks)]

    async def said(self, text: str, within_s: float = STOP_S) -> None:
        """Returns when `text` is in its output."""
        try:
            async with asyncio.timeout(within_s):
                while text not in self.output():
                    if self.exit_code is not None and text not in self.output():
                        raise AssertionError(f"{self.name} exited with {self.exit_code} and never said {text!r}")
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{self.name} did not say {text!r} within {within_s} s") from None


def children_called(name: str, parent: int) -> list[int]:
    """The children of a process that go by this name in `ps`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "comm").read_text().strip() == name:
                state = (entry / "stat").read_text().rpartition(")")[2].split()
                found += [int(entry.name)] if int(state[1]) == parent else []
    return sorted(found)


async def until_gone(pid: int, within_s: float = STOP_S) -> None:
    """Returns when a process, not necessarily a child, has exited."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        async with asyncio.timeout(within_s):
            await gone.wait()
    except TimeoutError:
        raise AssertionError(f"process {pid} is still there after {within_s} s") from None
    finally:
        loop.remove_reader(handle)
        os.close(handle)


class Children:
    """Starts processes whose variables have `base` in common, and ends those that are left."""

    def __init__(self, folder: Path, base: Mapping[str, str]) -> None:
        self._folder = folder
        self._base = base
        self.started: list[Child] = []

    def start(self, name: str, command: list[str], pass_fds: tuple[int, ...] = (), **env: str) -> Child:
        """Any command; `name` is for its log."""
        log = self._folder / f"{len(self.started)}-{name}.log"
        child = Child(name, command, {**self._base, **env}, log, pass_fds)
        self.started.append(child)
        return child

    def service(self, service: str, **env: str) -> Child:
        """`gateway`, `operator` or `runner`, as `python -m` starts it."""
        return self.start(service, [sys.executable, "-m", f"services.{service}"], (), **env)

    async def stop(self) -> None:
        """A polite signal, an insisting one, and the end; whatever is left in their sessions is killed too."""
        for within_s in POLITE_S:
            for child in self._living():
                child.terminate()
            await self._all_gone(within_s)
        for child in self.started:
            child.kill_all()
        await self._all_gone(within_s=STOP_S)

    def _living(self) -> list[Child]:
        return [child for child in self.started if child.exit_code is None]

    async def _all_gone(self, within_s: float) -> None:
        await asyncio.gather(*(child.wait(within_s) for child in self._living()), return_exceptions=True)


class Fleet:
    """A gateway, an operator and runners on one Redis, and a way to talk to them."""

    def __init__(self, children: Children, redis: Redis, env: Mapping[str, str]) -> None:
        port = str(free_port())
        self._children = children
        self._env = {"GATEWAY_PORT": port, "LOG_FORMAT": "json", **env}
        self.redis = redis
        key = {"Authorization": f"Bearer {env['ADMIN_KEYS']}"} if "ADMIN_KEYS" in env else {}
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=key, timeout=30)
        self.gateway = self.start("gateway")
        self.runners: list[Child] = []

    def start(self, service: str, **env: str) -> Child:
        """One more process of a service."""
        return self._children.service(service, **{**self._env, **env})

    def add_runner(self, **env: str) -> Child:
        """One more runner; `until_free` waits for it."""
        runner = self.start("runner", **env)
        self.runners.append(runner)
        return runner

    async def until_free(self, slots: int, within_s: float = START_S) -> None:
        """Returns when the gateway counts so many free slots."""
        await self.until_counted(within_s, free=slots)

    async def until_counted(self, within_s: float = START_S, **counts: int) -> None:
        """Returns when `GET /fleet` has these numbers, such as `busy=0`."""
        counted: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within_s):
                while any(counted.get(name) != number for name, number in counts.items()):
                    self._fail_on_the_dead()
                    with suppress(httpx.TransportError):
                        answer = await self.http.get("/fleet")
                        counted = answer.json() if answer.is_success else {}
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not {counts} after {within_s} s, but {counted}") from None

    async def join(self, wait_s: float | None = None, **body: Any) -> dict[str, Any]:
        """The answer to `POST /join`; without `wait_s` as soon as the session is accepted."""
        query = {} if wait_s is None else {"wait": wait_s}
        answer = await self.http.post("/join", json=body, params=query, timeout=(wait_s or 0) + 10)
        assert answer.status_code in {200, 202}, answer.text
        return dict(answer.json())

    async def session(self, session_id: str) -> dict[str, Any]:
        """The answer to `GET /sessions/{id}`."""
        answer = await self.http.get(f"/sessions/{session_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def until_status(self, session_id: str, *statuses: str, within_s: float = 30.0) -> dict[str, Any]:
        """The session, once it is one of these; each event of it is an occasion to look."""
        after = "0"
        try:
            async with asyncio.timeout(within_s):
                while (session := await self.session(session_id))["status"] not in statuses:
                    entries = await streams.read(self.redis, contract.session_key(session_id), after, block_s=1)
                    after = entries[-1][0] if entries else after
        except TimeoutError:
            raise AssertionError(f"not {statuses} within {within_s} s, but {session}") from None
        return session

    def kill_bots(self) -> None:
        """Kill the session processes of all runners, idle ones too."""
        for runner in self.runners:
            for pid in children_called(SESSION_PROCESS, runner.pid):
                os.kill(pid, signal.SIGKILL)

    async def event(self, session_id: str, kind: type[E], *, attempt: int = 1, within_s: float = 30.0) -> E:
        """The session's event of this kind and attempt, waited for in its history."""
        return await session_event(self.redis, session_id, kind, attempt=attempt, within_s=within_s)

    async def aclose(self) -> None:
        """Close the HTTP client; the processes are their `Children`'s to stop."""
        await self.http.aclose()

    def _fail_on_the_dead(self) -> None:
        for child in (self.gateway, *self.runners):
            assert child.exit_code is None, f"{child.name} exited with {child.exit_code}"


async def session_event(redis: Redis, session_id: str, kind: type[E], *, attempt: int = 1, within_s: float = 30.0) -> E:
    """The event of this kind and attempt in a session's history, waited for."""
    seen: list[AnyEvent] = []
    last = "0"
    try:
        async with asyncio.timeout(within_s):
            while True:
                entries = await streams.read(redis, contract.session_key(session_id), last, block_s=1)
                last = entries[-1][0] if entries else last
                new = [event for _, event in decode(entries)]
                seen += new
                for event in new:
                    if isinstance(event, kind) and event.attempt == attempt:
                        return event
    except TimeoutError:
        raise AssertionError(f"no {kind.__name__} within {within_s} s, but {seen}") from None


@asynccontextmanager
async def running_fleet(
    children: Children,
    redis: Redis,
    *,
    bot: str | Path,
    runners: int = 1,
    slots: int = 2,
    operator: bool = True,
    **env: str,
) -> AsyncIterator[Fleet]:
    """A fleet whose slots are all warm."""
    async with AsyncExitStack() as stack:
        fleet = Fleet(children, redis, {"BOT": str(bot), "RUNNER_SLOTS": str(slots), "LAUNCHER": "process", **env})
        stack.push_async_callback(fleet.aclose)
        if operator:
            fleet.start("operator")
        for _ in range(runners):
            fleet.add_runner()
        await fleet.until_free(runners * slots)
        yield fleet


def free_port() -> int:
    """A TCP port that nobody has right now, and that is given once: not one of those that clients get by chance."""
    while True:
        port = PORTS[next(_port_numbers) % len(PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
