"""What the operator reads from the environment."""

import re
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from services.operator.webhooks.sender import check_url, key_of
from shared.contract import AnyEvent
from shared.settings import Count, Names, Positive, Seconds, SessionSettings

WebhookUrl = Annotated[str, check_url]
TYPES = tuple(str(kind.__struct_config__.tag) for kind in get_args(AnyEvent))
"""Every type of event."""


def buffer(text: str) -> tuple[int, int]:
    """Slots, and percent of the busy ones, of a text such as `2,25%`; either may be missing.

    Raises:
        ValueError: it is neither.
    """
    found = re.fullmatch(r"(?:(\d+))?(?:(?:^|\s*,\s*)(\d+)\s*%)?", text.strip())
    if not found or not any(found.groups()):
        raise ValueError("expected a number of slots, a percentage of the busy ones, or both, such as 2,25%")
    return int(found[1] or 0), int(found[2] or 0)


class OperatorSettings(SessionSettings, frozen=True, kw_only=True):
    """Every variable of the operator."""

    launcher: Literal["process", "kubernetes", "none"] = "process"
    """What starts a cold runner: a process on this machine; a Kubernetes Job; or nothing, and launches wait."""
    cold_max: Count = 4
    """How many cold runners there are at most, busy ones included: of one operator, under Kubernetes of the fleet."""
    overflow_grace_s: Seconds = 0.5
    """How long a launch is left to the warm runners before a cold one is started for it."""
    runner_deployment: str = "runner"
    """The Deployment of the warm runners, in the operator's namespace; cold ones are made from its Pod template."""
    runner_slots: Positive = 1
    """How many sessions a warm runner runs side by side, as long as none is there that says so itself."""
    warm_min: Count = 1
    """How many warm runners there are at least; 0 lets the Deployment go down to none."""
    warm_max: Count = 10
    """How many warm runners there are at most; 0 leaves the Deployment's size alone."""
    warm_buffer: Annotated[str, buffer] = "1,25%"
    """How many free slots to keep: a number, a percentage of the busy ones, or both, of which the larger counts."""
    warm_cooldown_s: Seconds = 300.0
    """How long fewer warm runners must have been enough before there are fewer."""
    webhook_url: WebhookUrl = ""
    """Where each event of the fleet goes by POST; empty: nowhere."""
    webhook_secret: Names = ()
    """Secrets that sign it, such as `whsec_$(openssl rand -base64 32)`; several, after commas, while one changes."""
    webhook_types: Names = ()
    """Types of the events that are sent, such as `running,ended,failed`; empty: all."""
    webhook_allow_private: bool = False
    """1: WEBHOOK_URL may lead into private networks, and be http."""

    def __post_init__(self) -> None:
        """Refuse a range with nothing in it, and webhooks that would not be signed, or not arrive.

        Raises:
            ValueError: something is missing, or is not what it should be.
        """
        complaints = []
        if self.warm_max and self.warm_min > self.warm_max:
            complaints.append(f"WARM_MIN: expected at most WARM_MAX, {self.warm_max}, got {self.warm_min}")
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
