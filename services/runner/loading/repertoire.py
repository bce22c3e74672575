"""Which bots a session process can be: those of its runner's agents, imported before the fork or after it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from services.runner.loading.bot_source import Bot, Source


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """A bot that is imported after the fork: why, and what is known of it all the same."""

    why: str
    has_pipelines: bool
    error: str = ""
    """Why it does not import; empty if it does."""


@dataclass(frozen=True)
class Repertoire:
    """The bots of a runner's agents."""

    names: Mapping[str, str]
    source: Source
    moulded: dict[str, Bot]
    """Those that were imported before the fork."""
    late: Mapping[str, Late]

    def complete(self) -> None:
        """Import those that are left."""
        for agent, late in self.late.items():
            bot = self.source.bot(self.names[agent])
            self.moulded[agent] = replace(bot, has_pipelines=bot.has_pipelines or late.has_pipelines)

    def bot(self, agent: str) -> Bot:
        """The bot of a launch, as the only one that there is from now on."""
        bot = self.moulded[agent]
        if bot.folder:
            bot.folder.enter()
        return bot
