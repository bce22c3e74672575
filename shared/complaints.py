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
_TYPES = re.compile(r"\b([Ee]xpected|got) `([a-z]+(?: \| [a-z]+)*)`")
"""Fields stand in the same marks, and may be called as types are."""


def in_words(complaint: str) -> str:
    """The same sentence with its types by their usual names: "expected a number or null, got text"."""
    return _TYPES.sub(lambda found: f"{found[1]} {_named(found[2])}", complaint)


def _named(types: str) -> str:
    return " or ".join(_WORDS.get(one, one) for one in types.split(" | "))
