"""The fleet: its runners, and the launches that were given up."""

from argparse import Namespace
from urllib.parse import quote

from pipefleet.gateway import LONGEST_LIST, CommandError, Gateway
from pipefleet.tables import pairs, plain, say, say_json, table


def fleet(gateway: Gateway, asked: Namespace) -> int:
    """Runners, slots and queue."""
    found = gateway.get("/fleet")
    if asked.json:
        say_json(found)
        return 0
    say("{queued} queued, {running} running, {busy} of {slots} slots busy, {free} free".format(**found))
    heads = ("runner", "state", "slots", "busy", "free", "start", "version", "agents", "error")
    rows = [
        [", ".join(name or "default" for name in runner[head]) if head == "agents" else runner[head] for head in heads]
        for runner in found["runners"]
    ]
    say(table(heads, rows, nothing="No runner is there."))
    return 0


def drain(gateway: Gateway, asked: Namespace) -> int:
    """A runner finishes what it has, and exits."""
    told = gateway.post(f"/fleet/{quote(asked.runner, safe='')}/drain")
    if asked.json:
        say_json(told)
    else:
        runner, busy = plain(told["runner"]), told["busy"]
        say(f"{runner} was told to drain: it exits when its sessions are over, of which it has {busy}")
    return 0


def dead(gateway: Gateway, asked: Namespace) -> int:
    """Launches that were given up, newest first."""
    found = gateway.get("/dead", limit=LONGEST_LIST)
    if asked.json:
        say_json(found)
        return 0
    heads = ("id", "at", "session_id", "attempts", "reason", "room_url")
    rows = [[*(letter[head] for head in heads), pairs(letter["labels"]), letter["message"]] for letter in found["dead"]]
    say(table((*heads, "labels", "message"), rows, nothing="No launch was given up."))
    return 0


def redrive(gateway: Gateway, asked: Namespace) -> int:
    """The same launches again; the others go on when one is refused."""
    refused: list[CommandError] = []
    for letter in asked.letter:
        try:
            session = gateway.post(f"/dead/{quote(letter, safe='')}/redrive")
        except CommandError as error:
            refused.append(error if len(asked.letter) == 1 else type(error)(f"{letter}: {error}"))
            continue
        if asked.json:
            say_json(session, line=True)
        else:
            say(f"{letter} is session {session['session_id']}")
    if refused:
        raise type(refused[0])("\n".join(map(str, refused)))
    return 0
