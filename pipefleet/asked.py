"""Where the gateway is and with which key, from the environment and the options that say otherwise.

A key is never an argument: those are seen by everybody on the machine.
"""

import os
import sys
from pathlib import Path

from pipefleet.gateway import Gateway, UsageError

URL = "http://127.0.0.1:4444"


def gateway(url: str | None, key_file: str | None) -> Gateway:
    """The gateway that is meant.

    Raises:
        UsageError: the address or the file is none.
    """
    key = secret(key_file) if key_file else os.environ.get("PIPEFLEET_KEY", "").strip()
    return Gateway(url or os.environ.get("PIPEFLEET_URL", "").strip() or URL, key)


def secret(file: str) -> str:
    """What is in a file, or comes on the standard input for `-`, without the end of its line.

    Raises:
        UsageError: it cannot be read, or is empty.
    """
    try:
        text = (sys.stdin.read() if file == "-" else Path(file).read_text()).strip()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} cannot be read: it is no text") from None
    if not text:
        raise UsageError(f"{file} is empty")
    return text
