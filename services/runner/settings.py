"""What a runner reads from the environment."""

from shared.settings import Count, LaunchSettings, Positive, Seconds


class RunnerSettings(LaunchSettings, frozen=True, kw_only=True):
    """A runner's settings; supervisor, zygote and session processes read the same."""

    bot: str = "services.runner.bots.assistant"
    """The bot: a path to a Python file, or a dotted module, with `async def bot(runner_args)`."""
    runner_slots: Positive = 1
    """How many sessions run side by side, each in a process of its own that waits warm."""
    runner_auto_start: bool = False
    """0: stand by for any launch. 1: run one session, then exit."""
    daily_room_url: str | None = None
    """With RUNNER_AUTO_START=1: put the bot into exactly this room, at once."""
    daily_token: str | None = None
    """The meeting token for DAILY_ROOM_URL."""
    daily_api_key: str | None = None
    """Mints the bot's own token for a Daily room when the launch brings none."""
    daily_api_url: str = "https://api.daily.co/v1"
    """Daily's REST API."""
    end_warning_s: Seconds = 60.0
    """How long before the end of its longest session a bot is told, by a `SessionEndingFrame` in its pipeline."""
    session_memory_mb: Count = 0
    """The most private memory that a session's process may use, in MiB; 0: no limit."""
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
