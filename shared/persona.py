"""Who the assistant is in a call, and how it sounds: the original's field names, read by whoever gets a launch.

The gateway checks these fields in `POST /join`; the assistant reads them from its `body`, and its personas from files.
"""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from shared.complaints import in_words

Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(max_length=32_768)]


class VoiceParameters(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a voice speaks. A provider takes what it knows; further parameters of the original are let through."""

    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    stability: Share | None = None
    similarity_boost: Share | None = None
    style: Share | None = None
    optimize_streaming_latency: Annotated[int, Meta(ge=0, le=4)] | None = None
    language: Name | None = None


class Persona(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Somebody to be. `instructions` and `greeting` are templates: `{{ participant }}`, `{{ labels.team }}`."""

    name: Name | None = None
    instructions: Text | None = None
    greeting: Text | None = None
    language: Name | None = None
    voice: Name | None = None
    voice_provider: Name | None = None
    voice_parameters: VoiceParameters | None = None


class OriginalFields(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the original's clients say about the bot they want; its other fields are passed on as they are."""

    persona: Name | Persona | None = None
    """One of the personas that the assistant has, by its name there, or a whole one."""
    personality_id: Name | None = None
    """The same, by the original's name of it."""
    voice: Name | None = None
    voice_provider: Name | None = None
    voice_parameters: VoiceParameters | None = None
    voice_only: bool | None = None
    session_user_name: Annotated[str, Meta(max_length=256)] | None = None


S = TypeVar("S", bound=msgspec.Struct)


class BadField(ValueError):  # noqa: N818 - it says what it is
    """A field has not the value that it should; the text names it and what was expected."""

    def __init__(self, field: str, complaint: str) -> None:
        super().__init__(f"{field}: {complaint}" if field else complaint)
        self.field = field
        self.complaint = complaint


def read(kind: type[S], value: Any) -> S:
    """The value as a `kind`.

    Raises:
        BadField: it is not one.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$")
        complaint = in_words(said[:1].lower() + said[1:])
        raise BadField(place.removesuffix("`").removeprefix("."), complaint) from None
