"""What the bot writes with loguru, as Pipecat does, becomes lines like all others, with session and attempt."""

import sys
from typing import TYPE_CHECKING

import structlog

from shared.contract import Launch

if TYPE_CHECKING:
    from loguru import Message


def setup(launch: Launch, level: str) -> None:
    """Bind the session to every line of this process, and take loguru's lines in. The room's token is struck out."""
    structlog.contextvars.bind_contextvars(session_id=launch.session_id, attempt=launch.attempt)
    if "loguru" not in sys.modules:
        return
    from loguru import logger  # noqa: PLC0415 - only a bot that has it pays for it

    log = structlog.get_logger("bot")

    def pass_on(message: "Message") -> None:
        record = message.record
        write = getattr(log, record["level"].name.lower(), log.info)
        exception = record["exception"]
        write(
            "bot_log",
            said=without_token(record["message"], launch),
            source=record["name"],
            **({"exception": without_token(repr(exception.value), launch)} if exception else {}),
        )

    logger.remove()
    logger.add(pass_on, level=level.upper(), format="{message}")


def without_token(text: str, launch: Launch) -> str:
    """The text, with the room's token struck out of it."""
    return text.replace(launch.token, "[token]") if launch.token else text
