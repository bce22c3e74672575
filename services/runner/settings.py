"""What a runner reads from the environment."""

from typing import Annotated

from msgspec import Meta

from shared.settings import FleetSettings, Positive, Seconds


class RunnerSettings(FleetSettings, frozen=True, kw_only=True):
    """A runner's settings; supervisor, zygote and session processes read the same."""

    bot: str = "services.runner.bots.greeter"
    """The bot: a path to a Python file, or a dotted module, with `async def bot(runner_args)`."""
    runner_slots: Positive = 1
    """How many sessions run side by side, each in a process of its own that waits warm."""
    runner_auto_start: bool = False
    """0: stand by for any launch. 1: run one session, then exit."""
    daily_room_url: str | None = None
    """With RUNNER_AUTO_START=1: put the bot into exactly this room, at once."""
    daily_token: str | None = None
    """The meeting token for DAILY_ROOM_URL."""
    join_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    """How long a bot may take to be in its room, and a WebRTC client to make its offer."""
    max_duration_s: Annotated[float, Meta(gt=0)] = 4 * 3600.0
    """The longest session of DAILY_ROOM_URL; other launches carry their own limit."""
    launch_deadline_s: Annotated[float, Meta(gt=0)] = 120.0
    """How long the launch of DAILY_ROOM_URL may wait."""
    stop_grace_s: Seconds = 10.0
    """How long a bot that was told to leave may take before its process is killed."""
    drain_grace_s: Seconds = 3600.0
    """How long live sessions may go on after SIGTERM before they are handed back to the queue."""

    @property
    def renew_every_s(self) -> float:
        """How often leases are renewed: several times before the fence."""
        return self.lease_s * 0.15

    @property
    def fence_s(self) -> float:
        """How long after its last renewal a bot must stop: before anyone else may have its lease."""
        return self.lease_s * 0.75
