"""What can be found of a runner's set-up without a runner: `python -m services.runner.set_up`."""

import asyncio
from collections.abc import Mapping

from services.runner.forking.forks import Zygote
from services.runner.settings import RunnerSettings
from shared.findings import Finding, fail, of_settings, ok, tell, warn
from shared.process import logs
from shared.waiting import happens_within

IMPORT_WITHIN_S = 120.0


def judge(settings: RunnerSettings) -> list[Finding]:
    """Whether the bots can be had: the mould of a runner imports them as it always does."""
    zygote = asyncio.run(_moulded())
    if zygote is None:
        found = f"they were not imported within {IMPORT_WITHIN_S:.0f} s"
        return [fail("bots", found, "See what a bot waits for when it is imported, and do that in its function.")]
    return _of_bots(settings.sources, zygote.errors, zygote.late)


def _of_bots(sources: Mapping[str, str], errors: Mapping[str, str], late: Mapping[str, str]) -> list[Finding]:
    found = []
    for agent, source in sources.items():
        check, variable = (f"bot {agent}", "BOTS") if agent else ("bot", "BOT")
        if agent in errors:
            remedy = f"Mend the bot, or point {variable} at another one: its sessions fail at once."
            found.append(fail(check, f"{source} does not import: {errors[agent]}", remedy))
        elif agent in late:
            remedy = "Start threads and connections in bot() and not on import: each session waits for it."
            found.append(warn(check, f"{source} is imported by each session process: {late[agent]}", remedy))
        else:
            found.append(ok(check, f"{source} imports"))
    return found


async def _moulded() -> Zygote | None:
    """A mould that has said what it has, and is gone again; None if it has not in time."""
    zygote = Zygote(logs_output=False)
    running = asyncio.create_task(zygote.run())
    moulded = await happens_within(zygote.moulded, IMPORT_WITHIN_S)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return zygote if moulded else None


if __name__ == "__main__":
    logs.setup("runner", level="error", form="json")
    tell(of_settings("runner", RunnerSettings, judge))
