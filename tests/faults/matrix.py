"""The written matrix: who is struck, with what, and in which state the sessions are at that moment.

A case is judged the same way whatever it is: every accepted session comes to its end with a reason, a session that was
told to leave does not come back, no two bots are ever in one room, nobody is silent for longer than `SILENCE_S` says,
and nothing is left over.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Target: TypeAlias = Literal["gateway", "operator", "supervisor", "zygote", "session process", "redis", "host", "cable"]
Fault: TypeAlias = Literal["SIGKILL", "SIGSTOP", "SIGTERM", "short pause", "cut", "short cut"]
Phase: TypeAlias = Literal["queued", "starting", "running", "ending"]

PHASES: tuple[Phase, ...] = get_args(Phase)

LEASE_S = 2.4
"""The bench's lease."""
LONG_S = LEASE_S + 1.0
"""How long SIGSTOP and a cut last."""
SHORT_S = LEASE_S / 3
"""How long a short pause or a short cut lasts."""

ROWS: tuple[tuple[Target, Fault], ...] = (
    ("gateway", "SIGKILL"),
    ("gateway", "SIGSTOP"),
    ("gateway", "SIGTERM"),
    ("operator", "SIGKILL"),
    ("operator", "SIGSTOP"),
    ("operator", "SIGTERM"),
    ("supervisor", "SIGKILL"),
    ("supervisor", "SIGSTOP"),
    ("supervisor", "SIGTERM"),
    ("zygote", "SIGKILL"),
    ("zygote", "SIGSTOP"),
    ("zygote", "SIGTERM"),
    ("session process", "SIGKILL"),
    ("session process", "SIGSTOP"),
    ("session process", "SIGTERM"),
    ("redis", "SIGKILL"),
    ("redis", "SIGSTOP"),
    ("redis", "SIGTERM"),
    ("redis", "short pause"),
    ("host", "SIGKILL"),
    ("host", "SIGSTOP"),
    ("cable", "cut"),
    ("cable", "short cut"),
)
"""`host` is a supervisor with all of its processes; the `cable` is one runner's way to Redis. Redis keeps an AOF."""

SHORT_FORM: tuple[tuple[Target, Fault, Phase], ...] = (
    ("session process", "SIGKILL", "running"),
    ("supervisor", "SIGKILL", "ending"),
    ("redis", "SIGKILL", "running"),
    ("supervisor", "SIGSTOP", "running"),
    ("cable", "cut", "queued"),
)
"""The cases that `make test` runs, one after the other on one fleet."""

HARMLESS = frozenset(
    {
        *((target, fault) for target, fault in ROWS if target in {"gateway", "operator", "zygote"}),
        ("supervisor", "SIGTERM"),
        ("redis", "SIGKILL"),
        ("redis", "SIGTERM"),
        ("redis", "short pause"),
        ("cable", "short cut"),
    }
)
"""The rows that must not cost any session its bot, not even for an attempt."""

SILENCE_S: dict[tuple[Target, Fault], float] = {
    ("supervisor", "SIGKILL"): 3.0,
    ("supervisor", "SIGSTOP"): LEASE_S + 2.0,
    ("session process", "SIGKILL"): 1.5,
    ("session process", "SIGSTOP"): LONG_S + 1.5,
    ("session process", "SIGTERM"): 1.5,
    ("redis", "SIGSTOP"): LONG_S + 2.0,
    ("host", "SIGKILL"): LEASE_S + 2.0,
    ("host", "SIGSTOP"): LONG_S + 2.0,
    ("cable", "cut"): LEASE_S + 2.0,
}
"""How long a session may be without its bot. Where all slots were taken, its next attempt may wait for one besides."""
HARMLESS_SILENCE_S = 1.0
"""Nothing but a busy machine may keep the bot of a harmless row from its beats."""
FULL_S = 2.0


def silence_limit_s(target: Target, fault: Fault, phase: Phase) -> float:
    """How long nobody may be silent for longer."""
    limit_s = SILENCE_S.get((target, fault), HARMLESS_SILENCE_S)
    if phase == "ending" and (target, fault) == ("supervisor", "SIGKILL"):
        # A bot that is on its way out when its supervisor dies hands nothing back.
        limit_s = LEASE_S + 2.0
    return limit_s + (FULL_S if phase == "queued" else 0.0)


@dataclass(frozen=True)
class Row:
    """What one case came to."""

    target: Target
    fault: Fault
    phase: Phase
    accepted: int = 0
    ended: int = 0
    failed: int = 0
    restarted: int = 0
    silence_s: float = 0.0

    def complaints(self) -> list[str]:
        """What is not as it should be."""
        limit_s = silence_limit_s(self.target, self.fault, self.phase)
        costs = self.restarted if (self.target, self.fault) in HARMLESS else 0
        found = {
            f"{self.failed} sessions failed": self.failed > 0,
            f"{costs} sessions lost their bot": costs > 0,
            f"a session was silent for {self.silence_s:.2f} s, more than {limit_s:g} s": self.silence_s >= limit_s,
        }
        return [complaint for complaint, true in found.items() if true]

    def line(self) -> str:
        """For the table."""
        return (
            f"{self.target:<16}{self.fault:<12}{self.phase:<10}{self.accepted:>8}{self.ended:>7}{self.failed:>7}"
            f"{self.restarted:>10}{self.silence_s:>12.2f} s"
        )


HEAD = (
    f"{'struck':<16}{'with':<12}{'while':<10}{'accepted':>8}{'ended':>7}{'failed':>7}{'restarted':>10}"
    f"{'longest silence':>18}"
)
