"""Where the bot is: a Python file or a dotted module with `async def bot(runner_args)`."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

BotFunction = Callable[[Any], Awaitable[Any]]


class BotImportError(Exception):
    """The bot cannot be had; the text is the reason in one sentence."""


def load(name: str) -> ModuleType:
    """Import the bot's file or module.

    Raises:
        BotImportError: it does not import, or has no `async def bot(runner_args)`. What else it may raise while it is
            imported is in the text: type, message and place.
    """
    try:
        module = _from_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise BotImportError(explain(error)) from error
    if not inspect.iscoroutinefunction(getattr(module, "bot", None)):
        raise BotImportError(f"{name} has no `async def bot(runner_args)`")
    return module


def explain(error: BaseException) -> str:
    """An exception in one line: type, message, and the last line of its traceback."""
    kind = type(error).__name__
    said = f"{kind}: {error}" if str(error) else kind
    place = _last_place(error.__traceback__)
    return f"{said} ({place})" if place else said


def _last_place(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)
    if not frames:
        return ""
    last = frames[-1]
    return f"{Path(last.filename).name}:{last.lineno} in {last.name}: {last.line}"


def _from_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise BotImportError(f"{path} is not there")
    # As when Python runs the file itself: its neighbours can be imported.
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise BotImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
