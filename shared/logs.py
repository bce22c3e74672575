"""Logs: a fixed event name and fields. JSON for machines, one readable line on a terminal.

`session_id`, `attempt` and `trace_id` are bound once, where a launch is read. No speech, no tokens.
"""

import logging
import sys
from types import TracebackType
from typing import Literal, TypeAlias

import structlog

from shared import traceparent
from shared.contract import Launch

Form: TypeAlias = Literal["auto", "json", "console"]

# Without the variables of each frame, which structlog shows by default: they hold tokens.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def whose(launch: Launch) -> dict[str, str | int]:
    """The fields that name a launch in a line."""
    trace_id = traceparent.trace_id(launch.traceparent)
    told: dict[str, str | int] = {"session_id": launch.session_id, "attempt": launch.attempt}
    return {**told, "trace_id": trace_id} if trace_id else told


def for_people(form: Form) -> bool:
    """Whether lines are written for people, and not for machines."""
    return form == "console" or (form == "auto" and sys.stderr.isatty())


def setup(service: str, *, level: str, form: Form) -> None:
    """Send structlog and the standard library's log through one format to standard error."""
    console = for_people(form)
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if console else "iso", utc=not console),
    ]
    if not console:
        shared.append(_TRACEBACKS)
        sys.excepthook = _crashed
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
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The end of a process that nobody has foreseen, as one line."""
    structlog.get_logger().critical("crashed", exc_info=(kind, error, trace))
