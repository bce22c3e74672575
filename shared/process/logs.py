"""Logs: a fixed event name and fields. JSON for machines, one readable line on a terminal.

`session_id`, `attempt` and `trace_id` are bound once, where a launch is read. No speech, no tokens.
"""

import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, TextIO, TypeAlias

import msgspec
import structlog

from shared.contract import Launch
from shared.tracing import traceparent

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


class _Out:
    """Standard error, whoever reads it or not. The way through the standard library takes twice as long."""

    stream: TextIO | None = None
    """Where lines go instead."""

    def __call__(self, *_: object) -> "_Out":
        return self

    def msg(self, line: str) -> None:
        """A whole line at once. That it cannot be written is no reason for anything else to fail."""
        stream = self.stream or sys.stderr
        with suppress(OSError, ValueError):
            stream.write(line + "\n")
            stream.flush()

    debug = info = warning = error = critical = msg


_out = _Out()
_everywhere: dict[str, str | int] = {}
"""What all lines of this process have in common."""


def write_to(stream: TextIO) -> None:
    """From now on all lines go there, and not to standard error."""
    _out.stream = stream
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(stream)


def setup(service: str, *, level: str, form: Form, strike: Callable[[str], str] = str) -> None:
    """Send structlog and the standard library's log in one format to standard error.

    `strike` takes out of structlog's lines what must not be in them.
    """
    console = for_people(form)
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(_json)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _of_everywhere,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if console else "iso", utc=not console),
    ]
    if console:
        shared.append(_obeyed_by_no_terminal)
    else:
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

    def struck(_: Any, __: str, line: Any) -> str:
        return strike(line)

    structlog.configure(
        processors=[*shared, renderer, struck],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_out,
        cache_logger_on_first_use=True,
    )
    bind_everywhere(service=service)


def bind_everywhere(**fields: str | int) -> None:
    """Name these in every line of this process from now on; a thread of its own has no context that could name them."""
    _everywhere.update(fields)


def _of_everywhere(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for name, value in _everywhere.items():
        line.setdefault(name, value)
    return line


def _json(line: Any, default: Callable[[Any], Any]) -> str:
    """In a third of the time of the standard library, which also takes text that is not Unicode."""
    try:
        return msgspec.json.encode(line, enc_hook=default).decode()
    except (UnicodeError, TypeError, ValueError, RecursionError):
        return json.dumps(line, default=default)


def _obeyed_by_no_terminal(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Spell out what a terminal would act on: callers and bots choose some of these texts. JSON does so itself."""
    for name, value in line.items():
        if isinstance(value, str) and not value.isprintable():
            line[name] = "".join(one if one.isprintable() or one in "\n\t" else repr(one)[1:-1] for one in value)
    return line


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The end of a process that nobody has foreseen, as one line."""
    structlog.get_logger().critical("crashed", exc_info=(kind, error, trace))
