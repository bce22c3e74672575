"""What a process of the fleet is called in the streams: host, process number, and something that nobody else has."""

import os
import secrets
import socket


def process_name() -> str:
    """A name for this process that no other has had."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def host_of(name: str) -> str:
    """The host of a process by its name; in a Pod that is the Pod's name."""
    return name.rsplit("-", 2)[0]
