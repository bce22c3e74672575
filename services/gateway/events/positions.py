"""Where a reader of events is: one place in the stream of state changes, and one in that of activity.

The two streams are trimmed and expire each for itself; so a place in both says exactly, on any replica, what the reader
has had. As text, `<id>_<id>`, it is the id of a server-sent event.
"""

import re
from dataclasses import dataclass, replace

from shared.redis.entries import Order

START: Order = (0, 0)
LARGEST = 2**64 - 1
"""A number that no entry is given: of what comes after it Redis knows nothing."""

_TEXT = re.compile(r"(\d{1,20})-(\d{1,20})_(\d{1,20})-(\d{1,20})", re.ASCII)


def entry_id(of: Order) -> str:
    """The entry id of an order."""
    return f"{of[0]}-{of[1]}"


def rank(of: Order, *, is_state: bool) -> tuple[int, bool, int]:
    """Where an entry stands among those of both streams. Of one millisecond activity comes first: an end comes last."""
    return of[0], is_state, of[1]


@dataclass(frozen=True, slots=True)
class Position:
    """All up to and including these entries has been read."""

    events: Order = START
    activity: Order = START

    def __str__(self) -> str:
        return f"{entry_id(self.events)}_{entry_id(self.activity)}"

    def after(self, entry: Order, *, is_state: bool) -> "Position":
        """The position when this entry has been read as well."""
        return replace(self, events=entry) if is_state else replace(self, activity=entry)

    def has(self, entry: Order, *, is_state: bool) -> bool:
        """Whether this entry has been read."""
        return entry <= (self.events if is_state else self.activity)

    def covers(self, other: "Position") -> bool:
        """Whether all that was read at the other position has been read at this one."""
        return self.events >= other.events and self.activity >= other.activity


def parse(text: str) -> Position:
    """A position from its text.

    Raises:
        ValueError: it is none.
    """
    match = _TEXT.fullmatch(text)
    numbers = [int(number) for number in match.groups()] if match else [LARGEST]
    if max(numbers) >= LARGEST:
        raise ValueError("must be the id of an event that was sent here, <number>-<number>_<number>-<number>")
    return Position((numbers[0], numbers[1]), (numbers[2], numbers[3]))
