"""Those who call the fleet, and what became of their calls."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

import httpx

from services.gateway.sessions import Session, fold
from shared import contract, events
from shared.contract import Queued, Running, Status
from shared.errors import Unavailable
from shared.events import History
from shared.redis import streams
from shared.redis.connection import Redis, backoff_s
from tests.waiting import until

CALL_EVERY_S = 0.25
OVER_WITHIN_S = 25.0
ANSWER_WITHIN_S = 2.0


@dataclass
class Call:
    """One accepted session, as its caller knows it."""

    session_id: str
    room: str
    told: bool = False
    """A gateway has accepted that it is to leave."""
    history: History = field(default_factory=list)

    @property
    def now(self) -> Session | None:
        """Where it stands."""
        return fold(self.history)

    @property
    def over(self) -> bool:
        """It has come to its end."""
        return self.now is not None and self.now.status.over

    def saw(self, kind: type) -> bool:
        """Its history has such an event."""
        return any(isinstance(event, kind) for _, event in self.history)

    def begun(self) -> int:
        """How often it was queued: once, and once more for each attempt after the first."""
        return sum(isinstance(event, Queued) for _, event in self.history)

    def story(self) -> str:
        """Its history, in one line for people."""
        steps = [
            f"{type(event).__name__}/{event.attempt} {getattr(event, 'reason', None) or ''} at {entry}"
            for entry, event in self.history
        ]
        return f"{self.session_id} in {self.room} (told to leave: {self.told}): {', '.join(steps)}"


class Callers:
    """All calls of a case, made through several gateways."""

    def __init__(self, redis: Redis, ports: Sequence[int]) -> None:
        self.https = [httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=ANSWER_WITHIN_S) for port in ports]
        self.calls: list[Call] = []
        self._redis = redis
        self._rooms = count(1)

    async def aclose(self) -> None:
        """Close the clients."""
        for http in self.https:
            await http.aclose()

    async def join(self, *, gateway: int = 0, **body: Any) -> Call:
        """A session in a room of its own. Who gets no answer asks the other gateway, for the same room."""
        room = f"room-{next(self._rooms)}"
        request = {
            "room_url": f"https://bench.daily.co/{room}",
            "transport": "none",
            "deadline_s": 90,
            "max_duration_s": 120,
            "body": {"room": room, **body},
        }
        answer = await self._ask("POST", "/join", gateway, json=request)
        assert answer.status_code in {200, 202}, answer.text
        call = Call(answer.json()["session_id"], room)
        self.calls.append(call)
        return call

    async def dismiss(self, call: Call, *, gateway: int = 0) -> None:
        """Tell it to leave, once: an accepted order must not be forgotten."""
        answer = await self._ask("DELETE", f"/sessions/{call.session_id}", gateway)
        assert answer.status_code in {202, 404}, answer.text
        call.told = True
        if answer.status_code == 404 and await self.look():
            assert call.over, f"404 for {call.story()}"

    async def _ask(self, method: str, path: str, gateway: int, **request: Any) -> httpx.Response:
        async with asyncio.timeout(OVER_WITHIN_S):
            for tries in count():
                http = self.https[(gateway + tries) % 2]
                with suppress(httpx.TransportError):
                    answer = await http.request(method, path, **request)
                    if answer.status_code not in {429, 502, 503}:
                        return answer
                await asyncio.sleep(backoff_s(tries) / 4)
        raise AssertionError("unreachable")

    async def keep_calling(self, stop: asyncio.Event) -> None:
        """Short calls, one after the other, through both gateways in turn, answered or not."""
        async with asyncio.TaskGroup() as group:
            for number in count():
                group.create_task(self.join(gateway=number % 2, do="return", stay_s=0.15))
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), CALL_EVERY_S)
                if stop.is_set():
                    return

    async def look(self) -> bool:
        """Read the histories of the calls that are not over. False while Redis does not answer."""
        open_calls = [call for call in self.calls if not call.over]
        try:
            histories = await events.histories(self._redis, [call.session_id for call in open_calls])
        except Unavailable:
            return False
        for call, history in zip(open_calls, histories, strict=True):
            call.history = history
        return True

    async def until_each(self, calls: list[Call], what: Callable[[Call], bool], within_s: float = 30.0) -> None:
        """Returns when `what` is true of every call."""

        async def of_each() -> bool:
            return await self.look() and all(what(call) for call in calls)

        try:
            await until(of_each, within_s)
        except AssertionError:
            raise AssertionError(
                "\n".join(["not within the time:", *(call.story() for call in calls if not what(call))])
            ) from None

    async def see_to_end(self, within_s: float = OVER_WITHIN_S) -> None:
        """Tell each session that runs to leave, until all are over."""

        async def over() -> bool:
            if await self.look():
                running = [call for call in self.calls if call.now and call.now.status is Status.RUNNING]
                await asyncio.gather(*(self.dismiss(call) for call in running if not call.told))
            return all(call.over for call in self.calls)

        try:
            await until(over, within_s)
        except AssertionError:
            left = [call for call in self.calls if not call.over]
            unread = [f"commands of {call.session_id}: {await self._commands(call)}" for call in left]
            raise AssertionError("\n".join(["not over:", *(call.story() for call in left), *unread])) from None

    async def _commands(self, call: Call) -> str:
        """What waits for the session's bot, and who was given it."""
        stream = contract.commands_key(call.session_id)
        entries = await streams.between(self._redis, stream)
        pending = await cast("Any", self._redis.xpending_range(stream, contract.COMMANDS, "-", "+", 10))
        return f"{entries}, pending {pending}"

    async def running(self, number: int, **body: Any) -> list[Call]:
        """So many sessions, whose bots are in their rooms."""
        calls = list(await asyncio.gather(*(self.join(gateway=n % 2, do="stay", **body) for n in range(number))))
        await self.until_each(calls, lambda call: call.saw(Running))
        return calls

    async def until_accepted(self, number: int) -> None:
        """Returns when so many calls have been accepted."""
        await until(lambda: len(self.calls) >= number, 120)
