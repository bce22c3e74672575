"""What happens while one looks on: the live list of sessions, and events as lines of a log."""

import queue
import re
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from urllib.parse import quote

from pipefleet.gateway import AGAIN_S, Event, Gateway, Json, Refused, Unreachable, UsageError
from pipefleet.sessions import live, show_live
from pipefleet.tables import clock, coloured, pairs, say, say_json

STATES = "queued,starting,running,leaving,ended,failed"
DRAWN_EVERY_S = 0.25
"""A list that changes more often than this is drawn with several changes at once."""
LAST_S = 3600.0
"""How far back the fleet's log goes where nothing else is said."""
CLEAR = "\x1b[H\x1b[2J\x1b[3J"

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def sessions(gateway: Gateway, asked: Namespace) -> int:
    """The live sessions; with `--watch` again whenever one of them changes."""
    if not asked.watch:
        found = live(gateway, asked.agent)
        if asked.json:
            say_json(found)
        else:
            say(show_live(found))
        return 0
    for _ in _changes(gateway.events("/events", types=STATES)):
        seen = _seen(gateway, asked.agent)
        if seen is None:
            continue  # it is looked at again when there is a new connection
        if asked.json:
            say_json(seen, line=True)
        else:
            say((CLEAR if sys.stdout.isatty() else "") + show_live(seen) + ("" if sys.stdout.isatty() else "\n"))
    return 0


def _seen(gateway: Gateway, agent: str | None) -> Json | None:
    """The live sessions, as soon as the gateway can tell; None when there is no gateway."""
    while True:
        try:
            return live(gateway, agent)
        except Unreachable:
            return None
        except Refused as error:
            if not error.passes:
                raise
        time.sleep(AGAIN_S)


def logs(gateway: Gateway, asked: Namespace) -> int:
    """Events as lines: of a session from its beginning, of the fleet for the last hour; with `--follow` what comes."""
    path = f"/sessions/{quote(asked.session, safe='')}/events" if asked.session else "/events"
    back_s = span_s(asked.since) if asked.since else None
    if back_s is None and not asked.session and not asked.follow:
        back_s = LAST_S
    since = "" if back_s is None else position(time.time() - back_s, next(gateway.events("/events")).id)
    for event in gateway.events(path, since, lasting=asked.follow, types=asked.types):
        if event.now and not asked.follow:
            return 0
        if event.type and asked.json:
            say_json(event.data, line=True)
        elif event.type:
            say(line_of(event))
    return 0


def line_of(event: Event) -> str:
    """An event as people read it: time, session, attempt, what, and the rest."""
    if event.type == "gap":
        return coloured("warn", f"what was written from {event.data['since']} to {event.data['until']} is gone")
    apart = {"type", "at", "session_id", "attempt"}
    more = {name: value for name, value in event.data.items() if name not in apart and value not in (None, "", {})}
    kind = coloured(event.type, f"{event.type:18}")
    if "at" not in event.data:  # the fleet's picture, which is of now
        return f"{kind} {pairs(more)}"
    return f"{clock(event.data['at'])} {event.data['session_id']} {event.data['attempt']} {kind} {pairs(more)}".rstrip()


def position(at: float, newest: str) -> str:
    """Where a reader of the feeds was at this time; not beyond the newest, which would be a place that never was.

    Both are places in two streams, `<ms>-<n>_<ms>-<n>`.
    """
    then = (max(0, int(at * 1000)), 0)
    parts = [tuple(int(number) for number in part.split("-")) for part in newest.split("_")]
    return "_".join(f"{ms}-{number}" for ms, number in (min(then, part) for part in parts))


def span_s(text: str) -> float:
    """A span of time such as `30`, `90s`, `10m`, `2h`, `1d`, in seconds.

    Raises:
        UsageError: it is none.
    """
    found = _SPAN.fullmatch(text)
    if not found:
        raise UsageError(f"a time is such as 90s, 10m, 2h or 1d, and not {text!r}")
    return min(float(found[1]) * _UNITS[found[2]], time.time())


def _changes(events: Iterator[Event]) -> Iterator[None]:
    """One for the beginning, one for each change or each few that come close together, and one for a new connection.

    Events are read beside this, so that those that have come meanwhile can be told from those that are still to come.
    """
    come: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(events, come), daemon=True).start()
    begun = False
    while True:
        batch = [come.get()]
        while not come.empty():
            batch.append(come.get())
        for one in batch:
            if isinstance(one, Exception):
                raise one
            if one.type or one.now or not begun:
                begun = True
                yield
                time.sleep(DRAWN_EVERY_S)
                break


def _read(events: Iterator[Event], come: "queue.SimpleQueue[Event | Exception]") -> None:
    try:
        for event in events:
            come.put(event)
    except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
        come.put(error)
