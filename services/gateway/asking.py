"""A command to a session's bot, and what became of it."""

import asyncio
from contextlib import suppress

from services.gateway import sessions
from services.gateway.errors import NotFound
from services.gateway.feed import Watch
from services.gateway.parts import Parts
from services.gateway.sessions import Session
from shared.contract import AnyCommand, Leave, Outcome, Reply, commands_key
from shared.entries import Decoder
from shared.errors import BadEntry, Unavailable
from shared.streams import between

LAST_WORD_S = 0.5
"""A reply and the end of its session come over two streams; how long the reply may be the later one."""
STOPPING_S = 5.0
"""How long a gateway that is about to stop still waits for a reply."""

_command = Decoder[AnyCommand](AnyCommand)


async def tell(parts: Parts, session: Session, command: AnyCommand) -> None:
    """Have a command accepted: the bot gets it, or the session ends.

    Raises:
        NotFound: the session is over.
        Unavailable: Redis does not answer.
    """
    if not await parts.commands.send(session.session_id, session.room_url, command):
        raise NotFound("The session is over.")


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


async def ask(parts: Parts, session: Session, command: AnyCommand, wait_s: float) -> Reply | None:
    """The same, and wait for the reply: None when the time is up. A session that ends meanwhile is a failed command.

    Raises:
        NotFound: the session is over.
        Unavailable: Redis does not answer.
    """
    with (
        parts.replies.expected(command.command_id) as reply,
        parts.feed.watching(session.session_id) as watch,
    ):
        reply.add_done_callback(lambda _: watch.wake())
        await tell(parts, session, command)
        return await _answered(parts, session, reply, watch, wait_s)


async def _answered(
    parts: Parts, session: Session, reply: asyncio.Future[Reply], watch: Watch, wait_s: float
) -> Reply | None:
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    stopping = False
    while not reply.done():
        if parts.feed.stopping and not stopping:
            stopping = True
            until = min(until, loop.time() + STOPPING_S)
        if (left := until - loop.time()) <= 0:
            return None
        await watch.changed(left)
        if not reply.done() and (end := await _end(parts, session)):
            await asyncio.wait({reply}, timeout=LAST_WORD_S)
            return reply.result() if reply.done() else end
    return reply.result()


async def _end(parts: Parts, session: Session) -> Reply | None:
    """What to say when the session is over."""
    with suppress(Unavailable):
        now = await sessions.read(parts.redis, session.session_id)
        if now is None or now.status.over:
            why = ": ".join(str(part) for part in (now and now.reason, now and now.message) if part)
            return Reply(command_id="", outcome=Outcome.FAILED, message=f"The session is over: {why or 'unknown'}")
    return None
