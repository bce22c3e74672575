"""What a process of the fleet is called in the streams: host, number, beginning, and what nobody else has."""

import os
import re
import secrets
import socket
import time

_BEGINNING = re.compile(r"-([0-9a-f]{8})[0-9a-f]{6}$")


def process_name() -> str:
    """A name for this process that no other has had."""
    return f"{beginning_of_name(os.getpid())}{int(time.time()):08x}{secrets.token_hex(3)}"


def beginning_of_name(pid: int) -> str:
    """What the name of a process of this host begins with, by its number."""
    return f"{socket.gethostname()}-{pid}-"


def host_of(name: str) -> str:
    """The host of a process by its name; in a Pod that is the Pod's name."""
    return name.rsplit("-", 2)[0]


def began_at(name: str) -> int | None:
    """The second in which a process was given its name, by the clock of its host; None where the name has none."""
    found = _BEGINNING.search(name)
    return int(found[1], 16) if found else None
