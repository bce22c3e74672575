"""The receiving side of commands: a runner takes those of its sessions, and says what became of each.

Commands of one session reach its bot in the order of their entry ids, whoever holds the session. What another consumer
was given and has not done, such as a runner that was frozen and does not know yet that its lease is gone, the holder
takes from it: with each read, because what came later must not overtake it, and with each renewal of its leases.
"""

import asyncio
import time
from collections.abc import Iterable

import structlog
from redis.exceptions import ResponseError

from shared import contract
from shared.commands import MOST, Received, Unreadable, kind_of
from shared.contract import (
    COMMANDS,
    EVENTS,
    EVENTS_KEPT,
    FIELD,
    REPLIES_KEPT,
    REPLIES_KEPT_S,
    AnyCommand,
    Candidates,
    CommandDone,
    Leave,
    Offer,
    Reply,
    Sealed,
)
from shared.errors import BadEntry, Unavailable
from shared.redis.blocking_reader import BlockingReader
from shared.redis.connection import Redis, translated
from shared.redis.entries import Decoder, encode, milliseconds, order
from shared.redis.streams import Entries, Fields, read_group
from shared.script import Script
from shared.sealing import UNSEALED, Seals

log = structlog.get_logger()

_command = Decoder[AnyCommand | Sealed](AnyCommand | Sealed)
_unreadable = Decoder[Unreadable](Unreadable)


class Inbox:
    """The commands of all sessions of one runner, over one blocking connection."""

    def __init__(self, redis: Redis, holder: str, seals: Seals = UNSEALED) -> None:
        self._redis = redis
        self._seals = seals
        self._reader = BlockingReader(redis, COMMANDS, holder)
        self._take = Script(redis, "take_commands")
        self._conclude = Script(redis, "conclude_command")
        self._holder = holder
        self._sessions: dict[str, str] = {}
        self._attempts: dict[str, int] = {}
        """Which attempt of each session listens, by stream."""
        self._missing: dict[str, str] = {}
        """Those whose stream was not there when it was to be read: the session is over, or somebody has deleted it."""
        self._opened = asyncio.Event()
        self._given: set[tuple[str, str]] = set()
        self._certain = True
        self._in_order = asyncio.Lock()
        """Held from the last look at a stream to the giving of what was found there."""
        self._server_ahead_s = 0.0
        """What to add to a reading of the monotonic clock for the server's time."""

    async def open(self, session_id: str, attempt: int = 1) -> list[tuple[str, Received]]:
        """Listen to a session, and give what waits already: what earlier holders left undone, and what nobody has seen.

        Raises:
            Unavailable: Redis does not answer.
        """
        stream = contract.commands_key(session_id)
        async with self._in_order:
            if self._attempts.get(stream, attempt) != attempt:
                self._forget(stream)  # what an earlier one was given here, and has left undone, is this one's
            self._attempts[stream] = attempt
            waiting = await self._taken([stream], own=True)
            self._sessions[stream] = session_id
            self._opened.set()
            await self._reader.call_back()
            return [(entry, command) for _, entry, command in self._decode(waiting)]

    def close(self, session_id: str, attempt: int = 1) -> None:
        """Listen to a session no longer; what is undone stays for its next holder.

        That may be a later attempt here, when this one could not write its own end for so long: it goes on listening.
        """
        stream = contract.commands_key(session_id)
        if self._attempts.get(stream) == attempt:
            del self._attempts[stream]
            self._forget(stream)

    async def hand_over(self, session_id: str, attempt: int = 1) -> None:
        """The same, and a read that is under way takes no more of its commands: the next holder would never see them.

        Raises:
            Unavailable: Redis does not answer.
        """
        self.close(session_id, attempt)
        await self._reader.call_back()

    async def read(self) -> list[tuple[str, str, Received]]:
        """Wait for commands: session, entry, command. Gives an empty list now and then.

        Raises:
            Unavailable: Redis does not answer.
        """
        await self._opened.wait()
        try:
            if self._certain:
                answer = await self._reader.read(lambda: dict.fromkeys(self._sessions, ">"), count=MOST)
            else:
                # What was given to a connection that broke, and never arrived here.
                own = dict.fromkeys(self._sessions, "0")
                answer = await read_group(self._redis, COMMANDS, self._holder, own, count=MOST)
            async with self._in_order:
                missed = await self._taken([stream for stream, _ in answer], own=False)
                self._certain = True
                return self._decode([*missed, *answer])
        except Unavailable:
            self._certain = False
            raise
        except ResponseError as error:
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            await self._set_aside_missing(list(self._sessions))
            return []

    async def take_back(self, session_ids: Iterable[str]) -> list[tuple[str, str, Received]]:
        """What others were given of these sessions' commands, as from `read`. The caller holds their leases.

        Raises:
            Unavailable: Redis does not answer.
        """
        wanted = [contract.commands_key(session_id) for session_id in session_ids]
        await self._listen_again([stream for stream in wanted if stream in self._missing])
        streams = [stream for stream in wanted if stream in self._sessions]
        async with self._in_order:
            return self._decode(await self._taken(streams, own=False))

    def due(self, entry: str, command: Received) -> float | None:
        """The time of the monotonic clock from which a command is not wanted any more."""
        if command.expires_s is None:
            return None
        return milliseconds(entry) / 1000 + command.expires_s - self._server_ahead_s

    async def reply(self, session_id: str, entry: str, command: Received, reply: Reply, *, attempt: int) -> None:
        """Write what became of a command, once, and tell the gateway that waits for it.

        A leave is not done before its session is over, and then its stream goes: whoever has the session next, because
        this holder died on the way, must find it.

        Raises:
            Unavailable: Redis does not answer.
        """
        stream = contract.commands_key(session_id)
        if isinstance(command, Leave):
            await self._tell(command, reply)
            return
        keys = [stream, EVENTS, contract.session_key(session_id)]
        keys += [contract.replies_key(command.reply_to)] if command.reply_to else []
        event = done(session_id, attempt, command, reply)
        kept: list[str | int] = [EVENTS_KEPT, REPLIES_KEPT, REPLIES_KEPT_S]
        await self._conclude(keys, [COMMANDS, entry, encode(event) if event else "", encode(reply), *kept])
        self._given.discard((stream, entry))

    async def aclose(self) -> None:
        """Let go of the blocking connection."""
        await self._reader.aclose()

    async def _tell(self, command: Leave, reply: Reply) -> None:
        if not command.reply_to:
            return
        replies = contract.replies_key(command.reply_to)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xadd(replies, {FIELD: encode(reply)}, maxlen=REPLIES_KEPT)
            pipe.expire(replies, REPLIES_KEPT_S)
            with translated():
                await pipe.execute()

    async def _taken(self, streams: list[str], *, own: bool) -> list[tuple[str, Entries]]:
        """What others had of these streams, and with `own` what this holder has or nobody yet; this holder's now."""
        if not streams:
            return []
        now_ms, *found = await self._take(streams, [COMMANDS, self._holder, int(own)])
        self._server_ahead_s = now_ms / 1000 - time.monotonic()
        return [
            (streams[number - 1], [(entry, {FIELD: text}) for entry, text in zip(flat[::2], flat[1::2], strict=True)])
            for number, *flat in found
        ]

    async def _set_aside_missing(self, streams: list[str]) -> None:
        for stream in streams:
            if await self._exists(stream):
                continue
            if session_id := self._sessions.get(stream):
                self._forget(stream)
                self._missing[stream] = session_id

    async def _listen_again(self, streams: list[str]) -> None:
        """To sessions that live, and whose stream was deleted: the next command makes it anew."""
        for stream in streams:
            if await self._exists(stream) and (session_id := self._missing.pop(stream, None)):
                log.warning("commands_deleted", session_id=session_id, meaning="those that were undone are lost")
                self._sessions[stream] = session_id
                self._opened.set()
                await self._reader.call_back()

    async def _exists(self, stream: str) -> bool:
        """Whether there is such a stream; its group is there then, too.

        In one step: the session may be over meanwhile, and nobody would take away what is made for it then.
        """
        with translated():
            try:
                await self._redis.xgroup_create(stream, COMMANDS, id="0")
            except ResponseError as error:
                if "requires the key to exist" in str(error):
                    return False
                if not str(error).startswith("BUSYGROUP"):
                    raise
        return True

    def _forget(self, stream: str) -> None:
        self._missing.pop(stream, None)
        self._sessions.pop(stream, None)
        self._given = {given for given in self._given if given[0] != stream}
        if not self._sessions:
            self._opened.clear()

    def _decode(self, answer: Iterable[tuple[str, Entries]]) -> list[tuple[str, str, Received]]:
        """What is new of this, each session's in order."""
        fresh: dict[tuple[str, str], Fields] = {}
        for stream, entries in answer:
            for entry, fields in entries:
                # An entry without fields was deleted, and so has its fate.
                if fields and stream in self._sessions and (stream, entry) not in self._given:
                    fresh[stream, entry] = fields
        self._given.update(fresh)
        in_order = sorted(fresh.items(), key=lambda one: order(one[0][1]))
        return [(self._sessions[stream], entry, self._read(stream, fields)) for (stream, entry), fields in in_order]

    def _read(self, stream: str, fields: Fields) -> Received:
        try:
            command = _command(fields)
        except BadEntry:
            try:
                return _unreadable(fields)
            except BadEntry:
                return Unreadable()
        try:
            return self._seals.opened_command(self._sessions[stream], command)
        except BadEntry:
            kind = command.kind if isinstance(command, Sealed) else ""
            return Unreadable(command_id=command.command_id, reply_to=command.reply_to, type=kind)


def done(session_id: str, attempt: int, command: Received, reply: Reply) -> CommandDone | None:
    """The event of a command's fate; None for signalling, of which there is much and nobody asks."""
    if isinstance(command, Offer | Candidates):
        return None
    return CommandDone(
        session_id=session_id,
        attempt=attempt,
        command_id=command.command_id,
        kind=kind_of(command),
        outcome=reply.outcome,
        reason=reply.reason,
        message=reply.message,
    )
