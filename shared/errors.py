"""What can go wrong between the services.

PipefleetError
├── SettingsError        an environment variable is missing or bad; names every such variable
├── BadEntry             a stream entry that no reader can make sense of
├── RoomRefused          the room's service does not let the bot in
└── Unavailable          Redis does not answer; the same call may work later
"""


class PipefleetError(Exception):
    """Anything that Pipefleet itself raises."""


class SettingsError(PipefleetError):
    """Bad environment variables; the text has one line for each."""


class BadEntry(PipefleetError):  # noqa: N818 - it says what it is
    """An entry that does not decode. It has no content in its text: entries carry secrets."""


class Unavailable(PipefleetError):  # noqa: N818 - it says what it is
    """Redis did not answer."""


class RoomRefused(PipefleetError):  # noqa: N818 - it says what it is
    """The room's service does not let the bot in; the text is its answer, for people."""
