"""How large a benchmark is, and where its figures go. `make test` runs each one small, to see that it runs."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.bench.figures import Figures, in_page
from tests.processes import ROOT

RESULTS = ROOT / "docs" / "performance"
FULL = os.environ.get("BENCH") == "full"
"""Figures are wanted."""
LONGEST_S = 1200
"""The longest that one benchmark may take of these."""
_FIGURES = pytest.StashKey[Figures]()

N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Scale:
    """Whether figures are wanted, or only that the benchmark runs."""

    full: bool

    def of(self, full: N, small: N) -> N:
        """The number for this run."""
        return full if self.full else small


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A full benchmark may take longer than a test; where only is to be seen that it runs, one case is enough.

    The time of a test begins before its fixtures, so they come too late to give it more.
    """
    for item in items if FULL else ():
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(LONGEST_S), append=False)
    seen: set[tuple[Path, str]] = set()
    left_out = []
    for item in items if not FULL else ():
        name = (item.path, item.name.partition("[")[0])
        if item.path.parent == Path(__file__).parent and name in seen:
            left_out.append(item)
        seen.add(name)
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def scale() -> Scale:
    """The one of this run."""
    return Scale(FULL)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where a benchmark notes what it has found."""
    return request.config.stash.setdefault(_FIGURES, Figures())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash.get(_FIGURES, None)
    if found is None or not FULL:
        return
    terminalreporter.write_line(found.table())
    from tests.bench.plots import draw  # noqa: PLC0415 - only full runs have the packages for it

    RESULTS.mkdir(exist_ok=True)
    whole = not (config.option.keyword or config.option.markexpr) and all(
        Path(argument) == Path("tests/bench") for argument in config.args
    )
    if whole and not terminalreporter.stats.get("failed"):
        (RESULTS / "figures.json").write_text(found.as_json())
        draw(found, RESULTS)
        for page, table in (("README.md", found.table()), ("docs/capacity.md", found.planning())):
            file = ROOT / page
            file.write_text(in_page(file.read_text(), table))
