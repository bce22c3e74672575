"""The modules of a bot file's folder, seen by one bot at a time: two bots may each have a `tools.py`.

Bots of one runner are imported by one process, and each session process runs one of them. So a folder is entered before
its bot is imported or called, as when Python runs the file itself, and left before another one is imported.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

OURS = ("services", "shared")
"""Our own top-level packages. A folder of that name beside the bot is found together with what is ours."""


class BotFolder:
    """One folder, and what bots have imported from it so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own: dict[str, ModuleType] = {}

    @property
    def modules(self) -> Mapping[str, ModuleType]:
        """What was imported from it."""
        return self._own

    def enter(self) -> None:
        """Have the folder's modules found, before all others, from now on."""
        sys.path.insert(0, str(self._path))
        for name in OURS:
            place, places = str(self._path / name), importlib.import_module(name).__path__
            # Python finds it by itself, and forgets it again, unless it has an `__init__.py`.
            if (self._path / name).is_dir() and place not in places:
                places.append(place)
        for name, module in self._own.items():
            _put(name, module)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The same for a while; afterwards its modules are as if nobody had imported them."""
        before = dict(sys.modules)
        self.enter()
        try:
            yield
        finally:
            self._own = {name: module for name, module in sys.modules.items() if self._is_own(name, module, before)}
            for name in self._own:
                _put(name, before.get(name))
            sys.path.remove(str(self._path))

    def _is_own(self, name: str, module: ModuleType, before: dict[str, ModuleType]) -> bool:
        if before.get(name) is module:
            return False
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        return any(self._holds(Path(place)) for place in places if place)

    def _holds(self, file: Path) -> bool:
        """Whether it is found through this folder, and not through one within it, such as a virtual environment."""
        nested = [Path(place) for place in sys.path if Path(place) != self._path and self._path in Path(place).parents]
        return self._path in file.parents and not any(place in file.parents for place in nested)


def _put(name: str, module: ModuleType | None) -> None:
    """Have a module found under this name, as a part of its package too; or nothing."""
    package, _, part = name.rpartition(".")
    parent = sys.modules.get(package)
    if module is None:
        sys.modules.pop(name, None)
        if parent is not None:
            vars(parent).pop(part, None)
    else:
        sys.modules[name] = module
        if parent is not None:
            setattr(parent, part, module)
