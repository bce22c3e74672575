"""Where the bot is: a Python file or a dotted module with `async def bot(runner_args)`."""

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType, TracebackType

from services.runner.refusal import LaunchRefused

LONGEST_EXPLANATION = 2000
OURS = ("services", "shared")
"""Our own top-level packages. A folder of that name beside the bot is found together with what is ours."""

_PIPELINE_IMPORT = re.compile(r"^\s*(?:from|import)\s+pipecat\.(?:pipeline|workers)\b", re.MULTILINE)


class BotImportError(Exception):
    """The bot cannot be had; the text is the reason in one sentence."""


def load(name: str) -> ModuleType:
    """Import the bot's file or module, and let it warm up: it may have a function `warm_up()` that loads its models.

    Raises:
        BotImportError: it does not import, has no `async def bot(runner_args)`, or does not warm up. What it raised is
            in the text: type, message and place.
    """
    try:
        module = _from_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
        if not inspect.iscoroutinefunction(getattr(module, "bot", None)):
            raise BotImportError(f"{name} has no `async def bot(runner_args)`")
        if warm_up := getattr(module, "warm_up", None):
            warm_up()
    except BotImportError:
        raise
    except (Exception, SystemExit) as error:
        raise BotImportError(explain(error)) from error
    return module


def imports_pipelines(module: ModuleType) -> bool:
    """Whether the bot's own file imports Pipecat's pipelines anywhere, also when it is called and not before."""
    try:
        return _PIPELINE_IMPORT.search(inspect.getsource(module)) is not None
    except (OSError, TypeError):
        return False


def explain(error: BaseException) -> str:
    """An exception in one line that any reader can take: type, message, and the last line of its traceback.

    A `LaunchRefused` is its text alone.
    """
    kind = type(error).__name__
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - anybody's exceptions are shown here
        said = "(it cannot be shown)"
    if isinstance(error, LaunchRefused):
        return readable(said)
    place = _last_place(error.__traceback__)
    told = (f"{kind}: {said}" if said else kind) + (f" ({place})" if place else "")
    return readable(told)


def readable(text: str) -> str:
    """The text without what is no text, and not too long for a log line or an event."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST_EXPLANATION else text[: LONGEST_EXPLANATION - 1] + "…"


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
    for name in OURS:
        if (path.parent / name).is_dir():
            importlib.import_module(name).__path__.append(str(path.parent / name))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise BotImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
