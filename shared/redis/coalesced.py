"""The calls of one script that are made in the same turn of the event loop, in one round trip."""

import asyncio
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, ResponseError

from shared.errors import Unavailable
from shared.redis.connection import Redis, translated
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
        """Over a connection itself, for redis-py's own pipelines take twice the time of the rest."""
        sha = self._script.sha
        # The stub knows a tuple of one element only.
        packed = [
            hiredis.pack_command(("EVALSHA", sha, len(call.keys), *call.keys, *call.args))  # type: ignore[arg-type]
            for call in calls
        ]
        with translated():
            connection = await self._redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]
            try:
                answers: list[Any] = await connection.retry.call_with_retry(
                    partial(_sent, connection, packed), lambda _: connection.disconnect(nowait=True)
                )
                return answers
            finally:
                await self._redis.connection_pool.release(connection)


async def _sent(connection: AbstractConnection, packed: list[bytes]) -> list[Any]:
    """The answers to what is sent together; what the server refuses is one too."""
    await connection.send_packed_command(packed)
    answers: list[Any] = []
    for _ in packed:
        try:
            answers.append(await connection.read_response())
        except ResponseError as error:
            answers.append(error)
    return answers
