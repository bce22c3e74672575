"""Where the time goes when a service starts: `make profile` writes docs/performance/imports.txt.

For each process: how long its imports take in a bare interpreter with and without bytecode on disk, and which modules
take most of it by themselves, and together with what they are the first to import.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from services.runner.forking.zygote import PIPELINE_MODULES
from services.runner.settings import BUILT_IN

PROCESSES = {
    "gateway": ("services.gateway.__main__",),
    "operator": ("services.operator.__main__",),
    "runner's supervisor": ("services.runner.__main__",),
    "runner's mould, with the built-in bot": ("services.runner.forking.zygote", BUILT_IN, *PIPELINE_MODULES),
}
RESULT = Path(__file__).parents[2] / "docs" / "performance" / "imports.txt"
MOST = 12
TIMES = 5


@dataclass(frozen=True)
class Imported:
    """One module, in milliseconds."""

    name: str
    itself_ms: float
    whole_ms: float


def parse(text: str) -> list[Imported]:
    """What `python -X importtime` says."""
    rows = re.findall(r"^import time:\s+(\d+) \|\s+(\d+) \|\s+(\S+)$", text, re.MULTILINE)
    return [Imported(name, int(itself) / 1000, int(whole) / 1000) for itself, whole, name in rows]


def run(modules: Iterable[str], *options: str) -> tuple[float, str]:
    """The time of a fresh interpreter with these imports, in milliseconds, and what it said."""
    began = time.monotonic()
    command = [sys.executable, *options, "-c", f"import {', '.join(modules)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=RESULT.parents[2])
    return (time.monotonic() - began) * 1000, done.stderr


def section(process: str, modules: tuple[str, ...]) -> str:
    """What there is to say of one process."""
    run(modules)
    cached_ms = min(run(modules)[0] for _ in range(TIMES))
    with tempfile.TemporaryDirectory() as empty:
        compiled_ms = run(modules, "-X", f"pycache_prefix={empty}")[0]
    found = parse(run(modules, "-X", "importtime")[1])
    lines = [f"{process}: {len(found)} modules, {cached_ms:.0f} ms; without bytecode {compiled_ms:.0f} ms"]
    for title, key in (("by itself", "itself_ms"), ("with what it imports", "whole_ms")):
        lines.append(f"  {title}, ms")
        ranked = sorted(found, key=lambda one: -float(getattr(one, key)))
        lines += [f"  {getattr(one, key):8.1f}  {one.name}" for one in ranked[:MOST]]
    return "\n".join(lines)


def main() -> None:
    """Write them all."""
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text("\n\n".join(section(process, modules) for process, modules in PROCESSES.items()) + "\n")


if __name__ == "__main__":
    main()
