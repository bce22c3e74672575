"""What msgspec says of a value that does not fit, in words of those who wrote the value."""

import re

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
_NAMES = re.compile(r"`([a-z]+(?: \| [a-z]+)*)`")


def in_words(complaint: str) -> str:
    """The same sentence with its types by their usual names: "expected a number or null, got text"."""
    return _NAMES.sub(lambda found: " or ".join(_WORDS.get(name, name) for name in found[1].split(" | ")), complaint)
