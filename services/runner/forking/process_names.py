"""What the runner's processes are called in `ps` and `top`, where forks look like their mould."""

from pathlib import Path

ZYGOTE = "pf-zygote"
SESSION_PROCESS = "pf-session"


def be_called(name: str) -> None:
    """Give this process its name; the kernel keeps 15 characters."""
    Path("/proc/self/comm").write_text(name)
