"""The W3C trace context, as far as the services need it without OpenTelemetry: one line of text.

`00-<trace id>-<parent span id>-<flags>`, all in lower-case hexadecimal digits.
"""

import os
import re

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_LENGTH = 55
"""Of what version 00 says; a later version may say more, which nobody here can read."""


def valid(text: str) -> str:
    """What of a `traceparent` can be used, in the form of version 00; empty if it is none."""
    if not _FORM.fullmatch(text) or (text.startswith("00-") and len(text) > _LENGTH):
        return ""
    return f"00{text[2:_LENGTH]}"


def fresh() -> str:
    """A trace of its own. It counts as recorded, so that whoever has a collector tells of its part in it."""
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"


def trace_id(traceparent: str) -> str:
    """The trace's id; empty if this is no `traceparent`."""
    return valid(traceparent)[3:35]
