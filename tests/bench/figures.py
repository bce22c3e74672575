"""What a run of the benchmarks found: ratios of two things measured in the same run, and distributions."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MARKS = ("<!-- figures: written by `make bench` -->", "<!-- end of figures -->")
"""What stands around a table that is written into a page."""


@dataclass(frozen=True)
class Figure:
    """One of ours beside another, in the same unit. A target is for the ratio, ours to the other."""

    what: str
    unit: str
    ours: float
    beside: str
    other: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def ratio(self) -> float:
        """Ours to the other."""
        return self.ours / self.other if self.other else float("nan")

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.at_most is not None:
            return self.ratio <= self.at_most
        return None if self.at_least is None else self.ratio >= self.at_least

    @property
    def target(self) -> str:
        """In words."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return "" if self.at_least is None else f">= {self.at_least:g}"


@dataclass
class Figures:
    """All of one run."""

    figures: list[Figure] = field(default_factory=list)
    distributions: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Values by title, with the unit in it, and by what they are of."""
    needs: dict[str, tuple[float, str]] = field(default_factory=dict)
    """What a fleet is planned with, with its unit: of this machine alone, beside nothing."""

    def add(self, figure: Figure) -> None:
        """One more line of the table."""
        self.figures.append(figure)

    def distribution(self, title: str, values: Mapping[str, Sequence[float]]) -> None:
        """One more plot."""
        self.distributions[title] = {of: sorted(found) for of, found in values.items()}

    def table(self) -> str:
        """Markdown, which is also readable as it is."""
        lines = ["| | ours | beside | ratio | target | met |", "|---|---|---|---|---|---|"]
        for one in self.figures:
            met = {None: "", True: "yes", False: "**no**"}[one.met]
            lines.append(
                f"| {one.what} | {_short(one.ours)} {one.unit} | {one.beside}: {_short(one.other)} {one.unit} "
                f"| {_short(one.ratio)} | {one.target} | {met} |"
            )
        return "\n".join(lines)

    def planning(self) -> str:
        """What a fleet is planned with, as Markdown."""
        rows = [f"| {what} | {_short(value)} {unit} |" for what, (value, unit) in self.needs.items()]
        return "\n".join(["| | measured |", "|---|---|", *rows])

    def as_json(self) -> str:
        """With the machine it came from."""
        figures = [{**asdict(one), "ratio": one.ratio, "met": one.met} for one in self.figures]
        found: dict[str, Any] = {
            "machine": machine(),
            "figures": figures,
            "needs": self.needs,
            "distributions": self.distributions,
        }
        return json.dumps(found, indent=1)


def machine() -> str:
    """In one line: processor, cores, memory, kernel, Python."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    memory_kb = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return (
        f"{model}, {cores} cores, {memory_kb / 2**20:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def in_page(page: str, table: str) -> str:
    """A page with the table of this run in its place."""
    before, _, rest = page.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n\n{table}\n\nMeasured on {machine()}.\n\n{MARKS[1]}{after}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
