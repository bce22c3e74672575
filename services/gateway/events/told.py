"""An event as it is sent: put into bytes once, for however many clients."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, get_args

import msgspec

from services.gateway.events.positions import Position
from shared.contract import AnyActivity, AnyEvent
from shared.errors import BadEntry
from shared.redis.entries import Decoder, Order, order, time_of
from shared.redis.streams import Fields

Happening: TypeAlias = AnyEvent | AnyActivity


def _type_of(kind: Any) -> str:
    return str(kind.__struct_config__.tag)


STATE_TYPES = tuple(_type_of(kind) for kind in get_args(AnyEvent))
ACTIVITY_TYPES = tuple(_type_of(kind) for kind in get_args(AnyActivity))
FLEET = "fleet"
"""What a client that names it gets besides: the fleet's picture, which is no entry and has no id."""

_event = Decoder[AnyEvent](AnyEvent)
_activity = Decoder[AnyActivity](AnyActivity)


@dataclass(frozen=True)
class Told:
    """An entry of one of the two streams."""

    entry: Order
    is_state: bool
    happening: Happening
    position: Position
    """What whoever has read both streams up to here has read."""

    @cached_property
    def type(self) -> str:
        """The event's type, by which clients choose."""
        return _type_of(type(self.happening))

    @cached_property
    def body(self) -> bytes:
        """The event without its id."""
        return framed(self.type, shown(self.entry, self.happening))

    @cached_property
    def whole(self) -> bytes:
        """The event with the id that it has for everyone who reads both streams as the gateway does."""
        return self.under(self.position)

    def under(self, position: Position) -> bytes:
        """The event for a client that is at this position once it has it."""
        return b"id: %b\n%b" % (str(position).encode(), self.body)


def read(entry: str, fields: Fields, *, is_state: bool, before: Position) -> Told | None:
    """An entry that was read at the position `before`; None for one that this version does not know."""
    try:
        happening = (_event if is_state else _activity)(fields)
    except BadEntry:
        return None
    at = order(entry)
    return Told(at, is_state, happening, before.after(at, is_state=is_state))


def shown(entry: Order, happening: Happening) -> dict[str, Any]:
    """What clients read of an event."""
    fields = msgspec.to_builtins(happening)
    del fields["v"]
    ago_ms = int(fields.pop("ago_s", 0.0) * 1000)
    if not fields.get("dropped"):
        fields.pop("dropped", None)
    return {"type": fields.pop("type"), "at": time_of((max(entry[0] - ago_ms, 0), 0)), **fields}


def framed(kind: str, data: Any) -> bytes:
    """A server-sent event without id."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(data))
