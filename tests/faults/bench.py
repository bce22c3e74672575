"""A fleet of real processes under load, and what can be done to it."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import httpx

from services.runner.forking.process_names import SESSION_PROCESS, ZYGOTE
from shared.contract import Leaving, Status
from shared.errors import Unavailable
from shared.presence import present
from shared.redis.connection import Redis
from tests.faults import evidence, left_over
from tests.faults.cable import Cable
from tests.faults.callers import Call, Callers
from tests.faults.matrix import LEASE_S, LONG_S, SHORT_S, Fault, Phase, Row, Target
from tests.processes import Child, Children, children_called, free_port
from tests.redis_server import RedisServer
from tests.waiting import until
from up.children import living_children

WITNESSED = Path(__file__).parent.parent / "bots" / "witnessed.py"
RESTARTED_AFTER_S = 0.3
"""What stands in for Kubernetes starts a service anew after this pause."""
WHOLE_WITHIN_S = 40.0


class Bench:
    """Two gateways, an operator and runners. Whatever of them dies is started anew, as Kubernetes would do it."""

    def __init__(
        self,
        children: Children,
        server: RedisServer,
        redis: Redis,
        folder: Path,
        *,
        runners: int = 2,
        slots: int = 3,
        cable: Cable | None = None,
        **env: str,
    ) -> None:
        self.children = children
        self.server = server
        self.redis = redis
        self.folder = folder
        self.slots = slots
        self.cable = cable
        folder.mkdir(exist_ok=True)
        self._env = {
            "BOT": str(WITNESSED),
            "BOT_WITNESS": str(folder),
            "RUNNER_SLOTS": str(slots),
            "LEASE": str(LEASE_S),
            "STOP_GRACE": "3",
            "LOG_FORMAT": "json",
            "LAUNCHER": "none",
            **env,
        }
        self._before = living_children()
        self.ports = [free_port() for _ in range(2)]
        self.callers = Callers(redis, self.ports)
        self.gateways = [self._start("gateway", GATEWAY_PORT=str(port)) for port in self.ports]
        self.operator = self._start("operator")
        self.retired: list[Child] = []
        self.runners = [self._runner(number) for number in range(runners)]

    def _start(self, service: str, **env: str) -> Child:
        return self.children.service(service, **{**self._env, **env})

    def _runner(self, number: int) -> Child:
        if number == 0 and self.cable:
            return self._start("runner", REDIS_URL=self.cable.url)
        return self._start("runner")

    async def aclose(self) -> None:
        """Close the clients; the processes are their `Children`'s to stop."""
        await self.callers.aclose()

    # How sessions are brought into the state in which they are struck.

    async def bring_to(self, phase: Phase) -> list[Call]:
        """Sessions in this state, next to others that run; gives those in it."""
        match phase:
            case "queued":
                await self.callers.running(self.slots * len(self.runners))
                return [await self.callers.join(gateway=n % 2, do="stay") for n in range(3)]
            case "starting":
                await self.callers.running(2)
                calls = [await self.callers.join(gateway=n % 2, do="stay", enter_s=0.8) for n in range(3)]
                await until(lambda: all(self.bot_pids(call) for call in calls))
                return calls
            case "running":
                return await self.callers.running(4)
            case "ending":
                await self.callers.running(2)
                calls = await self.callers.running(3, leave_s=0.6)
                await asyncio.gather(*(self.callers.dismiss(call, gateway=n % 2) for n, call in enumerate(calls)))
                await self.callers.until_each(calls, lambda call: call.saw(Leaving) or call.over)
                return calls

    # Where things are.

    def bot_pids(self, call: Call) -> list[int]:
        """The processes that have been in the session's room."""
        return [stay.pid for stay in evidence.stays(self.folder) if stay.session_id == call.session_id]

    def runner_of(self, calls: Iterable[Call]) -> int:
        """The number of the runner that has the most of these; the one with the cable if there is one."""
        if self.cable:
            return 0
        pids = {pid for call in calls for pid in self.bot_pids(call)}
        mine = [len(pids & set(children_called(SESSION_PROCESS, runner.pid))) for runner in self.runners]
        return mine.index(max(mine))

    # Faults.

    async def strike(self, target: Target, fault: Fault, runner: int, victims: Iterable[Call] = ()) -> None:
        """Do it, and what follows from it: the end of a pause, or the start of what died."""
        match target, fault:
            case "cable", _:
                assert self.cable
                self.cable.cut()
                await asyncio.sleep(SHORT_S if fault == "short cut" else LONG_S)
                self.cable.heal()
            case "redis", ("SIGKILL" | "SIGTERM"):
                await self.restart_redis(signal.Signals[fault], RESTARTED_AFTER_S)
            case "redis", _:
                await self._pause([self.server.pid], SHORT_S if fault == "short pause" else LONG_S)
            case "host", "SIGKILL":
                gone = self.kill_host(runner)
                await self._replace(gone)
            case "host", _:
                await self._pause(self.host(runner), LONG_S)
            case _, "SIGSTOP":
                await self._pause(self._pids(target, runner, victims), LONG_S)
            case _:
                struck = self._service(target, runner)
                signal_all(self._pids(target, runner, victims), signal.Signals[fault])
                if struck:
                    await self._replace(struck)

    def _service(self, target: Target, runner: int) -> Child | None:
        return {"gateway": self.gateways[0], "operator": self.operator, "supervisor": self.runners[runner]}.get(target)

    def _pids(self, target: Target, runner: int, victims: Iterable[Call]) -> list[int]:
        service = self._service(target, runner)
        if service:
            return [service.pid]
        supervisor = self.runners[runner].pid
        if target == "zygote":
            return children_called(ZYGOTE, supervisor)
        bots = {pid for call in victims for pid in self.bot_pids(call)}
        living = [pid for each in self.runners for pid in children_called(SESSION_PROCESS, each.pid)]
        return [pid for pid in living if pid in bots] or children_called(SESSION_PROCESS, supervisor)[:1]

    def host(self, runner: int) -> list[int]:
        """A supervisor and all of its processes."""
        pid = self.runners[runner].pid
        return [pid, *children_called(ZYGOTE, pid), *children_called(SESSION_PROCESS, pid)]

    def kill_host(self, runner: int) -> Child:
        """All at once: none of them sees another die. Gives the supervisor."""
        pids = self.host(runner)
        signal_all(pids, signal.SIGSTOP)
        signal_all(pids, signal.SIGKILL)
        return self.runners[runner]

    async def restart_redis(self, number: signal.Signals, away_s: float) -> None:
        """The server is gone for so long."""
        self.server.signal(number)
        self.server.reap()
        await asyncio.sleep(away_s)
        self.server.start()

    async def _pause(self, pids: list[int], for_s: float) -> None:
        signal_all(pids, signal.SIGSTOP)
        try:
            await asyncio.sleep(for_s)
        finally:
            signal_all(pids, signal.SIGCONT)

    async def _replace(self, gone: Child) -> None:
        """What Kubernetes does: gateways and operators when they have exited, runners already while they drain."""
        if gone not in self.runners:
            await gone.wait()
        await asyncio.sleep(RESTARTED_AFTER_S)
        if gone is self.gateways[0]:
            self.gateways[0] = self._start("gateway", GATEWAY_PORT=str(self.ports[0]))
        elif gone is self.operator:
            self.operator = self._start("operator")
        elif gone in self.runners:
            await self.replace_runner(self.runners.index(gone))

    async def replace_runner(self, number: int) -> None:
        """Another in the place of one that is gone or drains."""
        self.retired.append(self.runners[number])
        self.runners[number] = self._runner(number)

    async def until_warm(self, number: int) -> None:
        """Returns when all slots of this runner are free."""
        pid = self.runners[number].pid

        async def warm() -> bool:
            return any(word.pid == pid and word.free == self.slots for word in await present(self.redis))

        await until(warm, WHOLE_WITHIN_S)

    # What must be true.

    async def until_whole(self) -> None:
        """Returns when every part is there and warm, and nothing of an earlier case is left."""
        left: list[str] = []

        async def whole() -> bool:
            nonlocal left
            left = await self.left_over()
            return not left

        try:
            await until(whole, WHOLE_WITHIN_S)
        except AssertionError:
            raise AssertionError("\n".join(["left over, or not back:", *left])) from None

    async def left_over(self) -> list[str]:
        """All that should not be there when no session lives, and what should be but is not."""
        try:
            return [
                *await left_over.in_redis(self.redis),
                *self._left_processes(),
                *await left_over.missing_slots(self.redis, self.runners, self.slots),
                *await self._missing(),
            ]
        except Unavailable as error:
            return [str(error)]

    def _left_processes(self) -> list[str]:
        services = {child.pid for child in self._services()}
        strangers = living_children() - self._before - services - {self.server.pid}
        found = [f"process {pid}: {left_over.command(pid)}" for pid in sorted(strangers)]
        found += [f"the retired runner {child.pid} lives" for child in self.retired if child.exit_code is None]
        found += [f"process {pid} of the operator" for pid in left_over.children_of(self.operator.pid)]
        return found

    async def _missing(self) -> list[str]:
        found = [f"{child.name} {child.pid} is gone" for child in self._services() if child.exit_code is not None]
        for http in self.callers.https:
            try:
                if (await http.get("/readyz")).status_code != 200:
                    found.append(f"{http.base_url} is not ready")
            except httpx.TransportError as error:
                found.append(f"{http.base_url}: {error!r}")
        return found

    def _services(self) -> list[Child]:
        return [*self.gateways, self.operator, *self.runners]

    async def until_alive(self, calls: list[Call]) -> None:
        """Returns when each of these has a bot in its room that has been heard of since now."""
        since = time.monotonic()

        def heard() -> set[str]:
            return {stay.session_id for stay in evidence.stays(self.folder) if stay.beats[-1] > since}

        await until(lambda: heard() >= {call.session_id for call in calls}, WHOLE_WITHIN_S)

    async def judge(self, target: Target, fault: Fault, phase: Phase) -> Row:
        """After all is over: the case's line in the table. Forgets its calls."""
        await self.until_whole()
        assert (doubled := evidence.doubled(self.folder)) == [], "\n".join(doubled)
        for child in self.retired:
            # One that was told to stop before it could listen has had no session.
            early = child.exit_code == -signal.SIGTERM and "zygote_ready" not in child.output()
            assert early or child.exit_code in {0, -signal.SIGKILL}, f"a runner exited with {child.exit_code}"
        over = [call.now for call in self.callers.calls if call.now]
        assert len(over) == len(self.callers.calls)
        assert all(session.reason for session in over)
        row = Row(
            target=target,
            fault=fault,
            phase=phase,
            accepted=len(over),
            ended=sum(session.status is Status.ENDED for session in over),
            failed=sum(session.status is Status.FAILED for session in over),
            restarted=sum(session.attempt > 1 for session in over),
            silence_s=max(
                (evidence.longest_silence_s(self.folder, call.session_id) for call in self.callers.calls), default=0.0
            ),
        )
        self.retired.clear()
        self.callers.calls.clear()
        for file in self.folder.iterdir():
            file.unlink()
        return row

    async def case(self, target: Target, fault: Fault, phase: Phase) -> Row:
        """One case from a whole fleet to a whole fleet."""
        victims = await self.bring_to(phase)
        lasting = [call for call in self.callers.calls if not call.told]
        stop = asyncio.Event()
        calling = asyncio.create_task(self.callers.keep_calling(stop))
        try:
            await self.strike(target, fault, self.runner_of(victims), victims)
            if phase != "queued":
                await self.until_alive(lasting)
        finally:
            stop.set()
            await calling
        await self.callers.see_to_end()
        return await self.judge(target, fault, phase)


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """To all that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
