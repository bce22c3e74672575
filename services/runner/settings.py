"""What a runner reads from the environment."""

from collections.abc import Mapping

from shared import agents
from shared.settings import Count, LaunchSettings, Positive, Seconds

BUILT_IN = "services.runner.bots.greeter"


class RunnerSettings(LaunchSettings, frozen=True, kw_only=True):
    """A runner's settings; supervisor, zygote and session processes read the same."""

    runner_slots: Positive = 1
    """How many sessions run side by side, each in a process of its own that waits warm."""
    runner_auto_start: bool = False
    """0: stand by for any launch. 1: run one session, then exit."""
    daily_room_url: str | None = None
    """With RUNNER_AUTO_START=1: put the bot into exactly this room, at once."""
    daily_token: str | None = None
    """The meeting token for DAILY_ROOM_URL."""
    end_warning_s: Seconds = 60.0
    """How long before the end of its longest session a bot is told, by a `SessionEndingFrame` in its pipeline."""
    events_transcripts: bool = False
    """1: what bots and their users say is part of the events, as text."""
    session_memory_mb: Count = 0
    """The most private memory that a session's process may use, in MiB; 0: no limit."""
    stop_grace_s: Seconds = 10.0
    """How long a bot that was told to leave may take before its process is killed."""
    drain_grace_s: Seconds = 3600.0
    """How long live sessions may go on after SIGTERM before they are handed back to the queue."""

    def __post_init__(self) -> None:
        """Refuse a room without a bot for it.

        Raises:
            ValueError: it has none, or what all who make launches need is wrong.
        """
        super().__post_init__()
        if self.runner_auto_start and self.daily_room_url and agents.DEFAULT not in self.agents:
            raise ValueError("BOT: must be set, for with BOTS alone there is no bot for DAILY_ROOM_URL")

    @property
    def sources(self) -> Mapping[str, str]:
        """Where the bot of each agent is."""
        default = {agents.DEFAULT: self.bot or BUILT_IN} if agents.DEFAULT in self.agents else {}
        return {**default, **agents.parse(self.bots)}

    @property
    def renew_every_s(self) -> float:
        """How often leases are renewed: several times before the fence."""
        return self.lease_s * 0.15

    @property
    def fence_s(self) -> float:
        """How long after its last renewal a bot must stop: before anyone else may have its lease."""
        return self.lease_s * 0.75
