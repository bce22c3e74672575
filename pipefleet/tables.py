"""What people read: tables and lines, coloured only on a terminal; and what scripts read: JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

COLOURS = {
    "running": "32", "ready": "32", "ok": "32", "delivered": "32",
    "queued": "33", "starting": "33", "leaving": "33", "draining": "33", "warn": "33",
    "failed": "31", "fail": "31",
    "ended": "2",
}  # fmt: skip
"""Words that have a colour, as the terminal's codes have it."""


def say(text: str = "") -> None:
    """A line for people, at once also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(document: Any, *, line: bool = False) -> None:
    """A document for scripts; as one line where more of them follow."""
    text = json.dumps(document, ensure_ascii=False, indent=None if line else 2)
    say("".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text))


def plain(text: str) -> str:
    """Lines with nothing in them that a terminal would obey: bots and callers choose some of these texts."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, nothing: str) -> str:
    """Columns as wide as they need to be; the sentence `nothing` where there is no row."""
    lines = [tuple(_cell(cell) for cell in row) for row in rows]
    if not lines:
        return nothing
    widths = [max(len(line[n]) for line in [heads, *lines]) for n in range(len(heads))]
    shown = ["  ".join(head.upper().ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip()]
    for line in lines:
        cells = [coloured(cell, cell.ljust(width)) for cell, width in zip(line, widths, strict=True)]
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values below each other; those without a value are left out."""
    shown = [(name, text) for name, value in pairs if (text := _cell(value))]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name.ljust(width)}  {coloured(text, text)}" for name, text in shown)


def coloured(word: str, text: str) -> str:
    """The text in the colour of a word, if it has one and this is a terminal."""
    code = COLOURS.get(word)
    return f"\x1b[{code}m{text}\x1b[0m" if code and sys.stdout.isatty() else text


def pairs(labels: dict[str, Any]) -> str:
    """Names with their values, in a row."""
    return " ".join(f"{name}={_cell(value)}" for name, value in labels.items())


def seconds_of(moment: str) -> float:
    """A time as the gateway writes it, in seconds."""
    return datetime.fromisoformat(moment).timestamp()


def age(since: str, now: float) -> str:
    """How long ago that was: `12s`, `5m`, `3h`, `2d`."""
    passed = max(0.0, now - seconds_of(since))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if passed >= size:
            return f"{int(passed // size)}{unit}"
    return f"{int(passed)}s"


def clock(moment: str) -> str:
    """The time of day here, to the millisecond."""
    at = datetime.fromtimestamp(seconds_of(moment), UTC).astimezone()
    return at.strftime("%H:%M:%S.") + f"{at.microsecond // 1000:03d}"


def _cell(value: object) -> str:
    """One line, as plain as the others."""
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else str(value)
    return plain(text).replace("\n", " ")
