"""Stream entries: from a Struct to one JSON field and back."""

import re
from datetime import UTC, datetime
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from shared.contract import FIELD
from shared.errors import BadEntry

T = TypeVar("T")

Order: TypeAlias = tuple[int, int]
"""An entry id as numbers, which compare as the entries do."""

_ENTRY_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


def encode(message: msgspec.Struct) -> str:
    """The JSON of an entry."""
    return msgspec.json.encode(message).decode()


class Decoder(Generic[T]):
    """Reads entries of one kind. Unknown fields are ignored, so that a newer writer is understood."""

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def __call__(self, fields: dict[str, str] | None) -> T:
        """The message of an entry.

        Raises:
            BadEntry: the entry is gone, has no such field, or is not such a message: nested too deeply, for one.
        """
        try:
            return self._decoder.decode((fields or {})[FIELD])
        except (KeyError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
            # Not the decoder's own text with the offending value: entries carry tokens.
            raise BadEntry(f"not a readable entry: {type(error).__name__}") from None


def is_entry_id(text: str) -> bool:
    """Whether somebody else's text has the form of a whole entry id."""
    return bool(_ENTRY_ID.fullmatch(text))


def milliseconds(entry_id: str) -> int:
    """When the server wrote the entry: milliseconds since the epoch."""
    return int(entry_id.partition("-")[0])


def order(entry_id: str) -> Order:
    """The order of an entry id."""
    milliseconds_, _, sequence = entry_id.partition("-")
    return int(milliseconds_), int(sequence or 0)


def moment(entry_id: str) -> str:
    """When the server wrote the entry: RFC 3339 in UTC, with milliseconds."""
    return time_of(order(entry_id))


def time_of(of: Order) -> str:
    """The same by its order, which can be one that a client made up."""
    at = datetime.fromtimestamp(min(of[0], 253_402_300_799_999) / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
