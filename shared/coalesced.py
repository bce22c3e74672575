"""The calls of one script that are made in the same turn of the event loop, in one round trip."""

import asyncio
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from redis.exceptions import NoScriptError

from shared.errors import Unavailable
from shared.redis_connection import Redis, translated
from shared.script import Script


@dataclass
class _Call:
    keys: list[str]
    args: list[str | int]
    answer: asyncio.Future[Any]


class Coalesced:
    """A `Script` that many call at once, that is safe to repeat, and that never answers with nothing.

    The first caller of a turn sends for all of them. There is no task and nothing to close: when that caller is
    cancelled, the others call again.
    """

    def __init__(self, redis: Redis, name: str) -> None:
        self._redis = redis
        self._script = Script(redis, name)
        self._waiting: list[_Call] = []

    async def __call__(self, keys: list[str], args: list[str | int]) -> Any:
        """Run it and give its raw answer.

        Raises:
            Unavailable: Redis does not answer.
        """
        answer: Any = None
        while answer is None:
            call = _Call(keys, args, asyncio.get_running_loop().create_future())
            self._waiting.append(call)
            if len(self._waiting) == 1:
                await self._send()
            answer = await call.answer
        if isinstance(answer, NoScriptError):
            return await self._script(keys, args)
        if isinstance(answer, Exception):
            with translated():
                raise answer
        return answer

    async def _send(self) -> None:
        """Send what is called in this turn, and hand out the answers; None to those who have to call again."""
        calls: list[_Call] = []
        answers: list[Any] = []
        try:
            try:
                await asyncio.sleep(0)
            finally:
                calls, self._waiting = self._waiting, []
            answers = await self._ask(calls)
        except Unavailable as error:
            answers = [Unavailable(*error.args) for _ in calls]
        finally:
            for call, answer in zip_longest(calls, answers):
                if not call.answer.done():
                    call.answer.set_result(answer)

    async def _ask(self, calls: list[_Call]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.execute_command("EVALSHA", self._script.sha, len(call.keys), *call.keys, *call.args)
            with translated():
                answers: list[Any] = await pipe.execute(raise_on_error=False)
                return answers
