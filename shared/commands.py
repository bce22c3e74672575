"""Commands to bots and what became of them."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from redis.exceptions import ResponseError

from shared import contract
from shared.contract import COMMANDS, FIELD, REPLIES_KEPT, REPLIES_KEPT_S, AnyCommand, Reply
from shared.entries import Decoder, encode
from shared.errors import BadEntry
from shared.redis_connection import BLOCK_S, Redis, translated
from shared.scripts import Script
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
        self._connection = redis.client()
        self._holder = holder
        self._sessions: dict[str, str] = {}
        self._opened = asyncio.Event()
        self._client_id: int | None = None
        """The server's name for the connection while it is in a blocking read."""

    async def open(self, session_id: str) -> list[tuple[str, AnyCommand]]:
        """Listen to a session, and give what its earlier holders left undone.

        Raises:
            Unavailable: Redis does not answer.
        """
        stream = contract.commands_key(session_id)
        await ensure_group(self._redis, stream, COMMANDS)
        with translated():
            taken: Any = await self._redis.xautoclaim(stream, COMMANDS, self._holder, min_idle_time=0, start_id="0")
        self._sessions[stream] = session_id
        self._opened.set()
        await self._look_again()
        return [(entry, command) for _, entry, command in self._decode([(stream, taken[1])])]

    def close(self, session_id: str) -> None:
        """Listen to a session no longer; what is undone stays for its next holder."""
        self._forget(contract.commands_key(session_id))

    async def read(self) -> list[tuple[str, str, AnyCommand]]:
        """Wait for commands: session, entry, command. Gives an empty list now and then.

        Raises:
            Unavailable: Redis does not answer.
        """
        await self._opened.wait()
        with translated():
            client_id: int = await self._connection.client_id()
        streams = dict.fromkeys(self._sessions, ">")
        self._client_id = client_id
        try:
            answer = await read_group(self._connection, COMMANDS, self._holder, streams, block_s=BLOCK_S)
        except ResponseError as error:
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            await self._forget_finished(list(streams))
            return []
        finally:
            self._client_id = None
        return list(self._decode(answer))

    async def reply(self, session_id: str, entry: str, command: AnyCommand, reply: Reply) -> None:
        """Note a command as done, and tell the gateway that waits for it.

        Raises:
            Unavailable: Redis does not answer.
        """
        stream = contract.commands_key(session_id)
        async with self._redis.pipeline(transaction=True) as pipe:
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
        await self._connection.aclose()

    async def _look_again(self) -> None:
        """End the read that does not know a new stream yet; it may only be on its way to the server."""
        client_id = self._client_id
        while client_id is not None and client_id == self._client_id:
            with translated():
                if await self._redis.client_unblock(client_id):
                    return
            await asyncio.sleep(0.001)

    async def _forget_finished(self, streams: list[str]) -> None:
        for stream in streams:
            if not await self._redis.exists(stream):
                self._forget(stream)

    def _forget(self, stream: str) -> None:
        self._sessions.pop(stream, None)
        if not self._sessions:
            self._opened.clear()

    def _decode(self, answer: Iterable[tuple[str, Entries]]) -> Iterator[tuple[str, str, AnyCommand]]:
        for stream, entries in answer:
            for entry, fields in entries:
                with suppress(BadEntry):
                    yield self._sessions[stream], entry, _command(fields)
