"""A command to a session's bot, and what became of it."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import Literal

from services.gateway.errors import NotFound, TooManyCommands
from services.gateway.parts import Parts
from services.gateway.sessions import Session
from shared.commands import Letter, Sent
from shared.contract import AnyCommand, Leave, Reply, commands_key
from shared.errors import BadEntry
from shared.redis.entries import Decoder
from shared.redis.streams import between

STOPPING_S = 5.0
"""How long a gateway that is about to stop still waits for a reply."""
NO_SESSION_ID = ""
"""Of this session there is no news: who watches it is woken only when the gateway is about to stop."""

_command = Decoder[AnyCommand](AnyCommand)


async def tell(parts: Parts, session: Session | Letter, command: AnyCommand) -> None:
    """Have a command accepted: the bot gets it, or the session ends.

    Raises:
        NotFound: the session is over.
        TooManyCommands: too many are undone.
        Unavailable: Redis does not answer.
    """
    match await parts.commands.send(session.session_id, session.room_url, command):
        case "over":
            await parts.session(session.session_id)  # raises, and says why
            raise NotFound("The session is over.")
        case "full":
            raise TooManyCommands


async def told_to_leave(parts: Parts, session_id: str) -> bool:
    """Whether a live session's bot has been sent a leave, which its runner may not have read yet.

    Raises:
        Unavailable: Redis does not answer.
    """
    for _, fields in await between(parts.redis, commands_key(session_id)):
        with suppress(BadEntry):
            if isinstance(_command(fields), Leave):
                return True
    return False


async def ask(parts: Parts, session: Session | Letter, command: AnyCommand, wait_s: float) -> Reply | None:
    """The same, and wait for the reply: None when the time is up. A session that ends meanwhile is a failed command.

    Raises:
        NotFound: the session is over.
        TooManyCommands: too many are undone.
        Unavailable: Redis does not answer.
    """
    with parts.replies.expected(command.command_id) as reply:
        await tell(parts, session, command)
        await _answered(parts, [reply], wait_s)
        return reply.result() if reply.done() else None


async def ask_all(
    parts: Parts, letters: Sequence[Letter], wait_s: float
) -> list[tuple[Sent | Literal["away"], Reply | None]]:
    """Send many commands, and wait for all replies side by side; what became of each is said of each."""
    with ExitStack() as expecting:
        replies = [expecting.enter_context(parts.replies.expected(letter.command.command_id)) for letter in letters]
        sent = await parts.commands.send_all(letters)
        await _answered(parts, [reply for reply, how in zip(replies, sent, strict=True) if how == "sent"], wait_s)
        known = [reply.result() if reply.done() else None for reply in replies]
        return [("sent" if reply else how, reply) for how, reply in zip(sent, known, strict=True)]


async def _answered(parts: Parts, replies: Iterable[asyncio.Future[Reply]], wait_s: float) -> None:
    """Wait until all are there, the time is up, or the gateway has to stop."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    stopping = False
    with parts.feed.watching(NO_SESSION_ID) as watch:
        missing = {reply for reply in replies if not reply.done()}

        def taken(reply: asyncio.Future[Reply]) -> None:
            missing.discard(reply)
            if not missing:
                watch.wake()

        for reply in missing:
            reply.add_done_callback(taken)
        while missing:
            if parts.feed.stopping and not stopping:
                stopping = True
                until = min(until, loop.time() + STOPPING_S)
            if (left := until - loop.time()) <= 0:
                return
            await watch.changed(left)
