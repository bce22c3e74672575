"""What the bot writes with loguru, as Pipecat does, becomes lines like all others, with session and attempt."""

import json
import logging
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog

from shared.contract import Launch

if TYPE_CHECKING:
    from loguru import Message

_secrets: set[str] = set()
"""This process's, for it has one session."""


def bind(launch: Launch) -> None:
    """Name the session in every line of this process from now on, and strike its token out of all."""
    structlog.contextvars.bind_contextvars(session_id=launch.session_id, attempt=launch.attempt)
    hide(launch.token)


def setup(level: str) -> None:
    """Take in the lines of loguru, and strike secrets out of all; once the bot is imported, and before the fork.

    Loguru takes its time for this, and nobody should wait for it.
    """
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_WithoutSecrets(handler.formatter))
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
            said=record["message"],
            source=record["name"],
            **({"exception": repr(exception.value)} if exception else {}),
        )

    logger.remove()
    logger.add(pass_on, level=level.upper(), format="{message}")


def hide(secret: str | None) -> None:
    """Strike this out of whatever is said from now on, also as it is spelt in JSON, in an address and by `repr`."""
    if secret:
        in_json, in_ascii = (json.dumps(secret, ensure_ascii=ascii_)[1:-1] for ascii_ in (False, True))
        _secrets.update((secret, in_json, in_ascii, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]))


def without_secrets(text: str) -> str:
    """The text, with every hidden secret struck out of it."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "[token]")
    return text


class _WithoutSecrets(logging.Formatter):
    """The last thing that happens to a line, so that no exception, however deep, brings a token into the log."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(self._formatter.format(record))
