"""Commands to bots and what became of them."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from redis.exceptions import ResponseError

from shared import contract
from shared.blocking_reader import BlockingReader
from shared.contract import COMMANDS, FIELD, REPLIES_KEPT, REPLIES_KEPT_S, AnyCommand, Leave, Reply
from shared.entries import Decoder, encode
from shared.errors import BadEntry, Unavailable
from shared.redis_connection import Redis, translated
from shared.script import Script
from shared.streams import Entries, ensure_group, read_group

_command = Decoder[AnyCommand](AnyCommand)


class Commands:
    """The sending side."""

    def __init__(self, redis: Redis) -> None:
        self._send = Script(redis, "send_command")

    async def send(self, session_id: str, room_url: str, command: AnyCommand) -> bool:
        """Accept a command for the session's bot. False: the session is over.

        Raises:
            Unavailable: Redis does not answer.
        """
        keys = [contract.room_key(room_url), contract.commands_key(session_id)]
        return bool(await self._send(keys, [session_id, encode(command), COMMANDS]))


class Inbox:
    """The receiving side: the commands of all sessions of one runner, over one blocking connection."""

    def __init__(self, redis: Redis, holder: str) -> None:
        self._redis = redis
        self._reader = BlockingReader(redis, COMMANDS, holder)
        self._holder = holder
        self._sessions: dict[str, str] = {}
        self._opened = asyncio.Event()
        self._given: set[tuple[str, str]] = set()
        self._certain = True

    async def open(self, session_id: str) -> list[tuple[str, AnyCommand]]:
        """Listen to a session, and give what waits already: what earlier holders left undone, and what nobody has seen.

        Raises:
            Unavailable: Redis does not answer.
        """
        stream = contract.commands_key(session_id)
        await ensure_group(self._redis, stream, COMMANDS)
        with translated():
            taken: Any = await self._redis.xautoclaim(stream, COMMANDS, self._holder, min_idle_time=0, start_id="0")
        unseen = await read_group(self._redis, COMMANDS, self._holder, {stream: ">"})
        self._sessions[stream] = session_id
        self._opened.set()
        await self._reader.call_back()
        return [(entry, command) for _, entry, command in self._decode([(stream, taken[1]), *unseen])]

    def close(self, session_id: str) -> None:
        """Listen to a session no longer; what is undone stays for its next holder."""
        self._forget(contract.commands_key(session_id))

    async def hand_over(self, session_id: str) -> None:
        """The same, and a read that is under way takes no more of its commands: the next holder would never see them.

        Raises:
            Unavailable: Redis does not answer.
        """
        self.close(session_id)
        await self._reader.call_back()

    async def read(self) -> list[tuple[str, str, AnyCommand]]:
        """Wait for commands: session, entry, command. Gives an empty list now and then.

        Raises:
            Unavailable: Redis does not answer.
        """
        await self._opened.wait()
        try:
            if self._certain:
                answer = await self._reader.read(lambda: dict.fromkeys(self._sessions, ">"))
            else:
                # What was given to a connection that broke, and never arrived here.
                answer = await read_group(self._redis, COMMANDS, self._holder, dict.fromkeys(self._sessions, "0"))
                self._certain = True
        except Unavailable:
            self._certain = False
            raise
        except ResponseError as error:
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            await self._forget_finished(list(self._sessions))
            return []
        return list(self._decode(answer))

    async def reply(self, session_id: str, entry: str, command: AnyCommand, reply: Reply) -> None:
        """Note a command as done, and tell the gateway that waits for it.

        A leave is not done before its session is over, and then its stream goes: whoever has the session next, because
        this holder died on the way, must find it.

        Raises:
            Unavailable: Redis does not answer.
        """
        stream = contract.commands_key(session_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            if not isinstance(command, Leave):
                self._given.discard((stream, entry))
                pipe.xack(stream, COMMANDS, entry)
                pipe.xdel(stream, entry)
            if command.reply_to:
                replies = contract.replies_key(command.reply_to)
                pipe.xadd(replies, {FIELD: encode(reply)}, maxlen=REPLIES_KEPT)
                pipe.expire(replies, REPLIES_KEPT_S)
            with translated():
                await pipe.execute()

    async def aclose(self) -> None:
        """Let go of the blocking connection."""
        await self._reader.aclose()

    async def _forget_finished(self, streams: list[str]) -> None:
        for stream in streams:
            if not await self._redis.exists(stream):
                self._forget(stream)

    def _forget(self, stream: str) -> None:
        self._sessions.pop(stream, None)
        self._given = {given for given in self._given if given[0] != stream}
        if not self._sessions:
            self._opened.clear()

    def _decode(self, answer: Iterable[tuple[str, Entries]]) -> Iterator[tuple[str, str, AnyCommand]]:
        for stream, entries in answer:
            for entry, fields in entries:
                if (stream, entry) in self._given or stream not in self._sessions:
                    continue
                self._given.add((stream, entry))
                with suppress(BadEntry):
                    yield self._sessions[stream], entry, _command(fields)
