"""`pipefleet`: the fleet from a terminal or a script.

Exit codes: 0 it is done, 1 it was refused or has failed, 2 the command is wrong, 3 no gateway answers.
"""

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

from pipefleet import VERSION, asked, commands, doctor, fleet, following, sessions
from pipefleet.gateway import CommandError, Gateway
from pipefleet.tables import plain

INTERRUPTED = 128 + signal.SIGINT
LONGEST_WAIT_S = 60.0
"""A gateway waits no longer."""
KINDS = ("say", "message", "interrupt", "mute", "unmute", "update", "app_message", "dtmf", "custom", "leave")
EPILOG = """\
PIPEFLEET_URL is the gateway's address (http://127.0.0.1:4444), PIPEFLEET_KEY its key, or --key-file a file with it.
Exit codes: 0 done, 1 refused or failed, 2 the command is wrong, 3 no gateway answers.
"""

Run: TypeAlias = Callable[[Gateway, argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; gives the exit code."""
    # A reader that has seen enough ends this as it ends any other program; Python would complain.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    given = parser().parse_args(arguments)
    run: Run = given.run
    try:
        return run(asked.gateway(given.url, given.key_file), given)
    except CommandError as error:
        sys.stderr.write(f"pipefleet: {plain(str(error))}\n")
        return error.exit_code
    except KeyboardInterrupt:
        # Threads that read may be in the middle of something; nothing here has an end worth waiting for.
        sys.stdout.flush()
        os._exit(INTERRUPTED)


def parser() -> argparse.ArgumentParser:
    """All commands and what each takes."""
    whole = argparse.ArgumentParser(
        prog="pipefleet", description="A fleet of voice bots.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    whole.add_argument("--version", action="version", version=f"pipefleet {VERSION}")
    added = whole.add_subparsers(required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", help="the gateway's address, in place of PIPEFLEET_URL")
    common.add_argument(
        "--key-file", metavar="FILE", help="a file with the key, in place of PIPEFLEET_KEY; - for stdin"
    )
    common.add_argument("--json", action="store_true", help="for scripts: one document, or one a line as they come")

    def command(name: str, run: Run, about: str) -> argparse.ArgumentParser:
        one = added.add_parser(
            name, parents=[common], help=about, description=f"{about[0].upper()}{about[1:]}.", allow_abbrev=False
        )
        one.set_defaults(run=run)
        return one

    _of_sessions(command)
    _of_bots(command)
    _of_the_fleet(command)
    return whole


Command: TypeAlias = Callable[[str, Run, str], argparse.ArgumentParser]


def _of_sessions(command: Command) -> None:
    join = command("join", sessions.join, "put a bot into a room")
    join.add_argument("--room", metavar="URL", help="the room; without it a WebRTC client comes to the session")
    join.add_argument("--transport", choices=("daily", "webrtc", "none"), help="daily with a room, otherwise webrtc")
    join.add_argument("--token-file", metavar="FILE", help="the bot's token for the room; - for stdin")
    join.add_argument("--body", metavar="JSON", help="for the bot; @FILE for what is in a file")
    join.add_argument("--agent", help="which of the fleet's bots")
    join.add_argument("--label", action="append", metavar="NAME=VALUE", help="for you; may be repeated")
    join.add_argument("--deadline", type=_seconds, metavar="S", help="how long it may wait for a runner")
    join.add_argument("--max-duration", type=_seconds, metavar="S", help="how long it may last")
    _wait(join, "until the bot is in its room, and fail if it is not")
    leave = command("leave", sessions.leave, "make a bot leave its room")
    leave.add_argument("session", type=_name, metavar="SESSION|ROOM", help="a session's id, or its room's URL")
    listed = command("sessions", following.sessions, "list the sessions that live")
    listed.add_argument("--watch", action="store_true", help="again whenever one changes")
    listed.add_argument("--agent", type=_text, help="only those of this agent; '' for the default one")
    command("show", sessions.show, "show one session with its timeline").add_argument(
        "session", type=_name, metavar="SESSION"
    )
    logs = command("logs", following.logs, "show what happened, as lines")
    logs.add_argument("session", type=_name, nargs="?", metavar="SESSION", help="of this one alone, from its beginning")
    logs.add_argument("--follow", "-f", action="store_true", help="and what comes")
    logs.add_argument("--since", metavar="TIME", help="how far back: 90s, 10m, 2h, 1d (1h of the fleet)")
    logs.add_argument("--types", metavar="TYPES", help="only these types of events, separated by commas")


def _of_bots(command: Command) -> None:
    admin = command("admin", commands.admin, "send a command to a bot")
    _addressee(admin)
    admin.add_argument("type", choices=KINDS, metavar="TYPE", help=", ".join(KINDS))
    admin.add_argument("--text", help="of say and message")
    admin.add_argument("--mode", choices=("queued", "immediate"), help="of message")
    admin.add_argument("--sender-id", help="of message")
    admin.add_argument("--sender-name", help="of message")
    for service in commands.CHANGES:
        admin.add_argument(f"--{service}", action="append", metavar="NAME=VALUE", help="of update; may be repeated")
    admin.add_argument("--data", metavar="JSON", help="of app_message and custom; @FILE for what is in a file")
    admin.add_argument("--digits", help="of dtmf")
    admin.add_argument("--expires", dest="expires_s", type=_seconds, metavar="S", help="not delivered later than this")
    say = command("say", commands.speak, "make a bot speak")
    _addressee(say)
    say.add_argument("text", nargs="+", metavar="TEXT")


def _of_the_fleet(command: Command) -> None:
    command("fleet", fleet.fleet, "show runners, slots and queue")
    drain = command("drain", fleet.drain, "make a runner finish what it has, and exit")
    drain.add_argument("runner", type=_name, metavar="RUNNER", help="its name in `pipefleet fleet`")
    command("dead", fleet.dead, "list the launches that were given up")
    redrive = command("redrive", fleet.redrive, "try launches again that were given up")
    redrive.add_argument("letter", type=_name, nargs="+", metavar="ID", help="of `pipefleet dead`")
    examined = command("doctor", doctor.doctor, "look for what is wrong with a set-up, where its settings are")
    examined.add_argument(
        "service", nargs="*", type=_service, metavar="SERVICE",
        help="only these services, of those that are installed here",
    )  # fmt: skip


def _name(text: str) -> str:
    """Of one thing: without a name, an address means all of its kind."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return _text(text)


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("it is no text in UTF-8") from None
    return text


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if math.isfinite(seconds := float(text)):
            return seconds
    raise argparse.ArgumentTypeError(f"expected seconds, got {text!r}")


def _wait_s(text: str) -> float:
    seconds = _seconds(text)
    if not 0 <= seconds <= LONGEST_WAIT_S:
        raise argparse.ArgumentTypeError(f"expected at most {LONGEST_WAIT_S:g} seconds, got {text}")
    return seconds


def _service(name: str) -> str:
    # With `choices`, argparse would want that no name at all is one of them.
    if name not in doctor.SERVICES:
        raise argparse.ArgumentTypeError(f"there is no {name!r}; there are {', '.join(doctor.SERVICES)}")
    return name


def _addressee(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "session", type=_name, metavar="SESSION|ROOM|all", help="a session's id, its room's URL, or all that live"
    )
    one.add_argument("--label", action="append", metavar="NAME=VALUE", help="of all, only those with this label")
    _wait(one, "for what becomes of it, and fail if it is not delivered")


def _wait(one: argparse.ArgumentParser, what: str) -> None:
    one.add_argument(
        "--wait", type=_wait_s, nargs="?", const=30.0, metavar="S", help=f"{what}; 30 s, at most {LONGEST_WAIT_S:g}"
    )
