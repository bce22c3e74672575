"""How a secret can be spelt where it has no business to be."""

import json
from collections.abc import Iterable
from urllib.parse import quote

SHORTEST_SECRET = 6
"""What is shorter is no secret, and to strike it out would make lines unreadable."""


def spellings(secret: str) -> set[str]:
    """As it is, in JSON, in an address, and as `repr` has it; of what is too short to be a secret none."""
    if len(secret) < SHORTEST_SECRET:
        return set()
    in_json, in_ascii = (json.dumps(secret, ensure_ascii=ascii_)[1:-1] for ascii_ in (False, True))
    return {secret, in_json, in_ascii, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]}


def struck_out(text: str, secrets: Iterable[str]) -> str:
    """The text without these; the longest first, for one can be the beginning of another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[token]")
    return text
