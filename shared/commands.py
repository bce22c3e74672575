"""Commands to bots: sent, and accepted or not."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeAlias

import msgspec
from redis.exceptions import RedisError

from shared import contract
from shared.contract import (
    COMMANDS,
    UNDONE_BYTES,
    UNDONE_COMMANDS,
    AnyCommand,
    Candidates,
    Leave,
    Offer,
)
from shared.errors import Unavailable
from shared.redis.connection import Redis, translated
from shared.redis.entries import encode
from shared.script import Script, is_ahead
from shared.sealing import UNSEALED, Seals
from shared.tracing import traces

Sent: TypeAlias = Literal["sent", "over", "full"]
"""`over`: the session has ended. `full`: too many commands to it are undone. Only the first changed anything."""

MOST = 3 * UNDONE_COMMANDS
"""How long a command stream can be: so that a client can still connect, and a leave still arrive."""
SEND_AT_ONCE = 100
"""How many commands go into one pipeline."""


Word: TypeAlias = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[A-Za-z0-9_. -]*\Z")]
"""What can stand in an event or a key, whoever wrote it."""


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A command that this version cannot read, with what can be read of it."""

    command_id: Word = ""
    reply_to: Word | None = None
    expires_s: None = None
    type: Word = ""


Received: TypeAlias = AnyCommand | Unreadable


@dataclass(frozen=True)
class Letter:
    """A command with its address."""

    session_id: str
    room_url: str
    command: AnyCommand

    def keys_and_args(self, seals: Seals) -> tuple[list[str], list[str | int]]:
        """What the script takes."""
        keys = [contract.room_key(self.room_url), contract.commands_key(self.session_id)]
        entry = encode(seals.closed_command(self.session_id, self.command))
        share = _share(self.command)
        return keys, [self.session_id, entry, COMMANDS, share * UNDONE_COMMANDS, share * UNDONE_BYTES]


class Commands:
    """The sending side."""

    def __init__(self, redis: Redis, seals: Seals = UNSEALED) -> None:
        self._redis = redis
        self._seals = seals
        self._send = Script(redis, "send_command")

    async def send(self, session_id: str, room_url: str, command: AnyCommand) -> Sent:
        """Accept a command for the session's bot.

        Raises:
            Unavailable: Redis does not answer.
        """
        with traces.publishing("send", "{bot}:commands", traces.current(), session_id) as span:
            span.set(traces.COMMAND, kind_of(command))
            command = msgspec.structs.replace(command, traceparent=span.traceparent)
            sent: Sent = await self._send(*Letter(session_id, room_url, command).keys_and_args(self._seals))
            span.set(traces.OUTCOME, sent)
        return sent

    async def send_all(self, letters: Sequence[Letter]) -> list[Sent | Literal["away"]]:
        """Send many; `away` are those of which Redis did not say that it has them, and those after them."""
        outcomes: list[Sent | Literal["away"]] = []
        for start in range(0, len(letters), SEND_AT_ONCE):
            try:
                outcomes += await self._send_some(letters[start : start + SEND_AT_ONCE])
            except Unavailable:
                break
        return outcomes + ["away"] * (len(letters) - len(outcomes))

    async def _send_some(self, letters: Sequence[Letter]) -> list[Sent | Literal["away"]]:
        calls = []
        for letter in letters:
            command = msgspec.structs.replace(letter.command, traceparent=traces.current())
            calls.append(replace(letter, command=command).keys_and_args(self._seals))
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                await self._send.queue(pipe, *call)
            with translated():
                answers = await pipe.execute(raise_on_error=False)
        # What is in the way of an entry is taken out by a call of its own, which may fail for itself.
        for number, answer in enumerate(answers):
            if is_ahead(answer):
                with suppress(Unavailable):
                    answers[number] = await self._send(*calls[number])
        return ["away" if isinstance(answer, RedisError) else answer for answer in answers]


def kind_of(command: Received) -> str:
    """What sort of command it is, in the word that the wire has for it."""
    return command.type if isinstance(command, Unreadable) else str(command.__struct_config__.tag)


def _share(command: AnyCommand) -> int:
    """How many times over its limit the undone commands may be for this one: none other keeps a bot from leaving."""
    match command:
        case Leave():
            return 3
        case Offer() | Candidates():
            return 2
        case _:
            return 1
