"""What ends a bot's stay, besides its function's return and its supervisor's word."""

import asyncio
import sys
from typing import TYPE_CHECKING, TypeAlias

import structlog

from services.runner.loading.bot_source import PIPELINES, explain, readable
from services.runner.logs import bot_logs
from services.runner.pipe import Over
from shared.contract import Launch, Reason
from shared.waiting import happens_within

if TYPE_CHECKING:
    from services.runner.call.pipelines import Seen

log = structlog.get_logger()

ARRIVES_DESPITE_ERROR_S = 1.0
"""A transport may complain of something lesser just before it says that it is connected."""

Exited: TypeAlias = asyncio.Future[SystemExit]
"""What a task of the bot's has ended the process with, as it believes."""


def seen_by_hook() -> "Seen | None":
    """What Pipecat's hook has seen, if this bot has anything to do with pipelines."""
    if PIPELINES not in sys.modules:
        return None
    from services.runner.call.pipelines import seen  # noqa: PLC0415 - who has no pipeline does not pay for it

    return seen


def raised(error: BaseException) -> Over:
    """What an exception out of the bot's function means. Calling `sys.exit()` is not one: it ends the process."""
    if isinstance(error, SystemExit):
        if not error.code:
            return Over(reason=Reason.COMPLETED)
        said = readable(f"the bot called sys.exit({error.code!r})")
        return Over(reason=Reason.BOT_DIED, message=bot_logs.without_secrets(said))
    log.error("bot_raised", exc_info=error)
    return Over(reason=Reason.BOT_ERROR, message=bot_logs.without_secrets(explain(error)))


async def exits(exited: Exited) -> Over:
    """Wait until a task of the bot's has called `sys.exit()`."""
    return raised(await exited)


async def is_refused(launch: Launch, in_room: asyncio.Event) -> Over:
    """Give what kept the bot out of its room; wait for ever if nothing did."""
    seen = seen_by_hook()
    while seen is not None and launch.transport == "daily":
        message = await seen.join_error.get()
        if not await happens_within(in_room, ARRIVES_DESPITE_ERROR_S):
            return Over(reason=Reason.JOIN_FAILED, message=bot_logs.without_secrets(message))
    return await _never()


async def is_replaced(launch: Launch) -> Over:
    """Wait until a later attempt of this session is seen in the room: whatever we know, the lease is not ours."""
    seen = seen_by_hook()
    if seen is None or launch.transport != "daily":
        return await _never()
    from services.runner.daily_room import replaces  # noqa: PLC0415 - who has no Daily does not pay for it

    while not replaces(await seen.daily_users.get(), launch.session_id, launch.attempt):
        pass
    log.warning("replaced_in_room")
    return Over(reason=Reason.LEASE_LOST, message="a later attempt of this session joined the room")


async def _never() -> Over:
    never: asyncio.Future[Over] = asyncio.get_running_loop().create_future()
    return await never
