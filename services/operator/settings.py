"""What the operator reads from the environment."""

from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from services.operator.webhook_sender import check_url, key_of
from shared.contract import AnyEvent
from shared.settings import Count, FleetSettings, Names, Seconds

WebhookUrl = Annotated[str, check_url]
TYPES = tuple(str(kind.__struct_config__.tag) for kind in get_args(AnyEvent))
"""Every type of event."""


class OperatorSettings(FleetSettings, frozen=True, kw_only=True):
    """Every variable of the operator."""

    launcher: Literal["process", "none"] = "process"
    """What starts a cold runner: a process on this machine; or nothing, and launches wait for a warm runner."""
    cold_max: Count = 4
    """How many cold runners one operator keeps alive at most, busy ones included."""
    overflow_grace_s: Seconds = 0.5
    """How long a launch is left to the warm runners before a cold one is started for it."""
    webhook_url: WebhookUrl = ""
    """Where each event of the fleet goes by POST; empty: nowhere."""
    webhook_secret: Names = ()
    """Secrets that sign it, such as `whsec_$(openssl rand -base64 32)`; several, after commas, while one changes."""
    webhook_types: Names = ()
    """Types of the events that are sent, such as `running,ended,failed`; empty: all."""
    webhook_allow_private: bool = False
    """1: WEBHOOK_URL may lead into private networks, and be http."""

    def __post_init__(self) -> None:
        """Refuse webhooks that would not be signed, or not arrive.

        Raises:
            ValueError: something is missing, or is not what it should be.
        """
        complaints = []
        if self.webhook_url and not self.webhook_secret:
            complaints.append("WEBHOOK_SECRET: must be set, for webhooks are signed")
        if urlsplit(self.webhook_url).scheme == "http" and not self.webhook_allow_private:
            complaints.append("WEBHOOK_URL: must be https, unless WEBHOOK_ALLOW_PRIVATE is 1")
        try:
            for secret in self.webhook_secret:
                key_of(secret)
        except ValueError as error:
            complaints.append(f"WEBHOOK_SECRET: {error}")
        complaints += [
            f"WEBHOOK_TYPES: expected some of {', '.join(TYPES)}, got {kind!r}"
            for kind in self.webhook_types
            if kind not in TYPES
        ]
        if complaints:
            raise ValueError("\n".join(complaints))
