"""Sessions: begin one, end one, list them, look at one."""

import json
import time
from argparse import Namespace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pipefleet.asked import secret
from pipefleet.gateway import LONGEST_LIST, Gateway, Json, UsageError
from pipefleet.tables import age, clock, facts, pairs, say, say_json, seconds_of, table

HEADS = ("session", "status", "try", "age", "transport", "agent", "runner", "room", "labels")


def join(gateway: Gateway, asked: Namespace) -> int:
    """Put a bot into a room; with `--wait` 0 only when it is there."""
    wish: Json = {"transport": asked.transport or ("daily" if asked.room else "webrtc")}
    if asked.wait is not None and wish["transport"] == "webrtc" and not asked.room:
        raise UsageError("--wait is for a room: here somebody must first open the link that is printed without it")
    given = {
        "room_url": asked.room,
        "token": secret(asked.token_file) if asked.token_file else None,
        "agent": asked.agent,
        "deadline_s": asked.deadline,
        "max_duration_s": asked.max_duration,
        "labels": pairs_of("--label", asked.label) or None,
    }
    wish |= {name: value for name, value in given.items() if value is not None}
    if asked.body is not None:
        wish["body"] = json_of(asked.body)
    session = gateway.post("/join", wish, wait=asked.wait, wait_s=asked.wait or 0)
    if session["transport"] == "webrtc" and session["status"] in {"queued", "starting"}:
        query = {"session": session["session_id"], **({"agent": asked.agent} if asked.agent else {})}
        session["client_url"] = f"{gateway.url}/client/?{urlencode(query)}"
    if asked.json:
        say_json(session)
    else:
        shown = ("session_id", "status", "reused", "room_url", "reason", "message", "client_url")
        say(facts((name, session.get(name)) for name in shown))
    return 0 if asked.wait is None or session["status"] == "running" or session.get("reason") == "completed" else 1


def leave(gateway: Gateway, asked: Namespace) -> int:
    """Make the bot of a session or a room leave."""
    left = gateway.post("/leave", addressed(asked.session))
    if asked.json:
        say_json(left)
    else:
        say(f"{left['session_id']} {'was withdrawn' if left['status'] == 'ended' else 'was told to leave'}")
    return 0


def live(gateway: Gateway, agent: str | None) -> Json:
    """The sessions that are not over, however many."""
    sessions: list[Json] = []
    after: str | None = ""
    while after is not None:
        page = gateway.get("/sessions", limit=LONGEST_LIST, agent=agent, after=after)
        sessions += page["sessions"]
        after = page.get("next")
    return {"sessions": sessions}


def show_live(found: Json) -> str:
    """They as a table."""
    now = time.time()
    return table(HEADS, (_row(session, now) for session in found["sessions"]), nothing="No session lives.")


def show(gateway: Gateway, asked: Namespace) -> int:
    """One session with its timeline."""
    session = gateway.get(f"/sessions/{quote(asked.session, safe='')}")
    if asked.json:
        say_json(session)
        return 0
    known = {name: value for name, value in session.items() if name != "timeline" and value is not False}
    say(facts({**known, "labels": pairs(session["labels"])}.items()))
    began = seconds_of(session["created_at"])
    rows = []
    for event in session["timeline"]:
        more = {name: value for name, value in event.items() if name not in {"type", "at", "attempt"}}
        rows.append((clock(event["at"]), f"+{seconds_of(event['at']) - began:.3f}", event["attempt"], event["type"],
                     pairs({name: value for name, value in more.items() if value not in (None, "", {})})))  # fmt: skip
    say()
    say(table(("at", "after", "try", "event", "more"), rows, nothing="Nothing has happened yet."))
    return 0


def addressed(target: str) -> Json:
    """A session by its id, or by the address of its room."""
    return {"room_url" if "://" in target else "session_id": target}


def pairs_of(option: str, given: list[str] | None) -> dict[str, str]:
    """What an option has given, by name.

    Raises:
        UsageError: one is not `name=value`.
    """
    found = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise UsageError(f"{option}: expected name=value, got {pair!r}")
        found[name] = value
    return found


def json_of(text: str) -> Any:
    """The JSON of an argument, or of the file after an `@`.

    Raises:
        UsageError: it is none, or the file cannot be read.
    """
    try:
        return json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except OSError as error:
        raise UsageError(f"{text[1:]} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this is not JSON: {error}") from None


def _row(session: Json, now: float) -> tuple[object, ...]:
    status = "leaving" if session["leaving"] else session["status"]
    where = (session["transport"], session["agent"], session["runner"], session["room_url"])
    return (session["session_id"], status, session["attempt"], age(session["created_at"], now), *where,
            pairs(session["labels"]))  # fmt: skip
