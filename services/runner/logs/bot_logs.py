"""What the bot writes with loguru, as Pipecat does, becomes lines like all others, with session and attempt."""

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from services.runner.logs.spellings import spellings, struck_out
from shared.contract import Launch
from shared.process import logs
from shared.process.logs import whose

if TYPE_CHECKING:
    from loguru import Message

_secrets: set[str] = set()
"""This process's, for it has one session."""
_tell: list[Callable[[str], None]] = []
"""Who wants to know of them."""


def bind(launch: Launch) -> None:
    """Name the session in every line of this process from now on, and strike its token out of all."""
    if launch.session_id:  # that of a rehearsal has none
        logs.bind_everywhere(**whose(launch))
    if launch.token:
        _secrets.update(spellings(launch.token))  # the supervisor knows it


def as_new() -> None:
    """Let the bot that is imported next find loguru as in a process of its own: many begin with `logger.remove(0)`."""
    if "loguru" not in sys.modules:
        return
    from loguru import logger  # noqa: PLC0415 - only a bot that has it pays for it

    logger.remove()
    logger._core.handlers_count = 0  # type: ignore[attr-defined]  # noqa: SLF001 - nothing else gives the number again
    logger.add(sys.stderr)


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
    if secret and secret not in _secrets:
        _secrets.update(spellings(secret))
        for tell in _tell:
            tell(secret)


def share(tell: Callable[[str], None]) -> None:
    """Tell of every secret, those so far and those to come."""
    for secret in _secrets:
        tell(secret)
    _tell.append(tell)


def go_straight(fd: int) -> None:
    """Write the lines of the log there, whatever has become of this process's standard error."""
    logs.write_to(open(fd, "w", buffering=1))  # noqa: SIM115 - for as long as the process lives


def without_secrets(text: str) -> str:
    """The text, with every hidden secret struck out of it."""
    return struck_out(text, _secrets)


class _WithoutSecrets(logging.Formatter):
    """The last thing that happens to a line, so that no exception, however deep, brings a token into the log."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(self._formatter.format(record))
