"""Logs: a fixed event name and fields. JSON for machines, one readable line on a terminal.

`session_id` and `attempt` are bound once, where a launch is read, with `structlog.contextvars`. No speech, no tokens.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import structlog

# Without the variables of each frame, which structlog shows by default: they hold tokens.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


class _Out:
    """Standard error, whoever reads it or not. The way through the standard library takes twice as long."""

    def __call__(self, *_: object) -> "_Out":
        return self

    def msg(self, line: str) -> None:
        """A whole line at once. That it cannot be written is no reason for anything else to fail."""
        with suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = msg


def setup(
    service: str, *, level: str, form: Literal["auto", "json", "console"], strike: Callable[[str], str] = str
) -> None:
    """Send structlog and the standard library's log in one format to standard error.

    `strike` takes out of structlog's lines what must not be in them.
    """
    for_people = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if for_people
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if for_people else "iso", utc=not for_people),
    ]
    if not for_people:
        shared.append(_TRACEBACKS)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # What no line shows is not asked for; the standard library's page on logging names these.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001
    logging.getLogger("asyncio").setLevel(logging.WARNING)

    def struck(_: Any, __: str, line: Any) -> str:
        return strike(line)

    structlog.configure(
        processors=[*shared, renderer, struck],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Out(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
