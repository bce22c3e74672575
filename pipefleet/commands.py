"""Commands to bots."""

from argparse import Namespace

from pipefleet.gateway import Gateway, Json, UsageError
from pipefleet.sessions import addressed, json_of, pairs_of
from pipefleet.tables import facts, say, say_json, table

ALL = "all"
PLAIN = ("text", "mode", "sender_id", "sender_name", "digits", "expires_s")
CHANGES = ("llm", "tts", "stt")


def admin(gateway: Gateway, asked: Namespace) -> int:
    """A command to one bot or to all; with `--wait` 0 only when every one has it."""
    wish: Json = {"type": asked.type, **_addressees(asked)}
    wish |= {name: value for name in PLAIN if (value := getattr(asked, name)) is not None}
    wish |= {name: changes for name in CHANGES if (changes := pairs_of(f"--{name}", getattr(asked, name)))}
    if asked.data is not None:
        wish["data"] = json_of(asked.data)
    return _send(gateway, wish, asked)


def speak(gateway: Gateway, asked: Namespace) -> int:
    """Make a bot, or all of them, say something."""
    return _send(gateway, {"type": "say", "text": " ".join(asked.text), **_addressees(asked)}, asked)


def _addressees(asked: Namespace) -> Json:
    labels = pairs_of("--label", asked.label)
    if asked.session == ALL:
        return {"all": True, **({"labels": labels} if labels else {})}
    if labels:
        raise UsageError("--label chooses among all sessions: name `all` and not one of them")
    return addressed(asked.session)


def _send(gateway: Gateway, wish: Json, asked: Namespace) -> int:
    answer = gateway.post("/admin", {**wish, "wait": asked.wait or 0}, wait_s=asked.wait or 0)
    each = answer.get("commands", [answer])
    if asked.json:
        say_json(answer)
    elif "commands" in answer:
        rows = [(one["session_id"], _fate(one, asked), one.get("error") or one.get("message")) for one in each]
        say(table(("session", "outcome", "message"), rows, nothing="No session lives that this is for."))
    else:
        told = {**answer, "outcome": _fate(answer, asked)}
        say(facts((name, told.get(name)) for name in ("id", "session_id", "outcome", "reason", "message")))
    refused = any(one["status"] == "refused" for one in each)
    undone = asked.wait is not None and any(one.get("outcome") != "delivered" for one in each)
    return 1 if refused or undone else 0


def _fate(one: Json, asked: Namespace) -> str:
    """What became of one session's command, as far as it is known."""
    if one["status"] == "refused":
        return "refused"
    return str(one.get("outcome") or ("no answer yet" if asked.wait else "accepted"))
