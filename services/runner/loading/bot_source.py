"""Where a bot is: a Python file or a dotted module with `async def bot(runner_args)`."""

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType, TracebackType

from services.runner.loading.bot_folder import BotFolder
from services.runner.logs import bot_logs
from services.runner.refusal import LaunchRefused

LONGEST_EXPLANATION = 2000
PIPELINES = "pipecat.pipeline.worker"
"""A bot that has imported this speaks through a pipeline, whose frames say when it is in its room."""

_PIPELINE_IMPORT = re.compile(r"^\s*(?:from|import)\s+pipecat\.(?:pipeline|workers)\b", re.MULTILINE)


class BotImportError(Exception):
    """The bot cannot be had; the text is the reason in one sentence."""


@dataclass(frozen=True)
class Bot:
    """One agent's bot, as far as it can be had."""

    module: ModuleType | BotImportError
    has_pipelines: bool
    """It speaks through a pipeline as soon as it is called, whether or not that is imported already."""
    folder: BotFolder | None = None
    """Where its own modules are, if it is a file: to be entered before it is called."""

    @property
    def error(self) -> str:
        """Why it cannot be had; empty if it can."""
        return str(self.module) if isinstance(self.module, BotImportError) else ""


class Source:
    """Imports bots, each once and as if it were alone."""

    def __init__(self) -> None:
        self._folders: dict[Path, BotFolder] = {}
        self._bots: dict[str, Bot] = {}

    def bot(self, name: str) -> Bot:
        """The bot of a file or a module, or why there is none."""
        if name not in self._bots:
            self._bots[name] = self._imported(name)
        return self._bots[name]

    def _imported(self, name: str) -> Bot:
        folder = None
        if name.endswith(".py"):
            path = Path(name).resolve().parent
            folder = self._folders.setdefault(path, BotFolder(path))
        before = PIPELINES in sys.modules
        bot_logs.as_new()
        with folder.entered() if folder else nullcontext():
            try:
                module: ModuleType | BotImportError = load(name)
            except BotImportError as error:
                module = error
        has_pipelines = PIPELINES in sys.modules and not before
        if isinstance(module, ModuleType) and not has_pipelines:
            has_pipelines = _imports_pipelines(module, folder.modules if folder else _of_package(module))
        return Bot(module, has_pipelines, folder)


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
    except (BotImportError, KeyboardInterrupt):
        raise
    except BaseException as error:
        # Of whatever kind: a mould that dies of it is made anew, dies again, and says to nobody why.
        raise BotImportError(explain(error)) from error
    return module


def _imports_pipelines(bot: ModuleType, own: Mapping[str, ModuleType]) -> bool:
    """Whether the bot imports Pipecat's pipelines anywhere, also when it is called, or one of its own that it uses."""
    seen: set[ModuleType] = set()
    ahead = {bot}
    while ahead:
        module = ahead.pop()
        if _PIPELINE_IMPORT.search(_text(module)):
            return True
        seen.add(module)
        ahead |= {own[name] for name in _uses(module) & own.keys()} - seen
    return False


def _uses(module: ModuleType) -> set[str]:
    """The names of the modules that it has imported, or imported classes and functions from."""
    values = vars(module).values()
    made_in = {value.__module__ for value in values if isinstance(value, type | FunctionType)}
    return made_in | {value.__name__ for value in values if isinstance(value, ModuleType)}


def _of_package(bot: ModuleType) -> dict[str, ModuleType]:
    package = bot.__name__.partition(".")[0]
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == package}


def _text(module: ModuleType) -> str:
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return ""


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
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise BotImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
