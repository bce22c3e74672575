"""What a launch may ask of the assistant, in its `body`; every other field is passed on to the tools."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from services.runner.refusal import LaunchRefused
from shared.persona import BadField, Name, OriginalFields, Text, read


class DialIn(msgspec.Struct, frozen=True, kw_only=True):
    """A call that waits to be taken into the Daily room, as Daily's webhook tells of it."""

    call_id: Name
    call_domain: Name


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the fleet says about the session."""

    labels: dict[str, str] = {}


class AssistantBody(OriginalFields, frozen=True, kw_only=True, rename="camel"):
    """The original's fields, and the assistant's own."""

    stt: Name | None = None
    llm: Name | None = None
    llm_model: Name | None = None
    tts: Name | None = None
    greeting: Text | None = None
    language: Name | None = None
    recording: bool = False
    """Record the Daily room from the moment in which the bot is in it."""
    dialin_settings: Annotated[DialIn | None, Meta(description="Daily's own name")] = msgspec.field(
        default=None, name="dialin_settings"
    )
    dialout_settings: dict[str, Any] | list[dict[str, Any]] | None = msgspec.field(
        default=None, name="dialout_settings"
    )
    daily_api_key: Name | None = msgspec.field(default=None, name="daily_api_key")
    daily_api_url: Name | None = msgspec.field(default=None, name="daily_api_url")
    """As Pipecat's own runner gives it; it can be no other than that of the settings."""
    pipefleet: About = About()


def read_body(body: Any) -> AssistantBody:
    """What the launch asks for; nothing in particular without a body.

    Raises:
        LaunchRefused: a field is not what it should be.
    """
    try:
        return read(AssistantBody, {} if body is None else body)
    except BadField as error:
        raise LaunchRefused(f"body: {error}") from error
