"""What a process costs in memory, as the kernel counts it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """In MiB. Private is what would be free without the process; proportional divides what is shared by its users."""

    private: float
    proportional: float


def of(pid: int) -> Memory:
    """From `/proc/<pid>/smaps_rollup` (proc(5))."""
    rows = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:] if ":" in line
    )

    def mib(*names: str) -> float:
        return sum(int(rows[name].split()[0]) for name in names) / 1024

    return Memory(private=mib("Private_Clean", "Private_Dirty"), proportional=mib("Pss"))
