"""The runner, with a note in BENCH_NOTES of how late its supervisor's event loop turned."""

import asyncio
import os
from pathlib import Path

from services.runner.__main__ import main
from services.runner.forking import mould
from services.runner.settings import RunnerSettings
from shared import settings
from shared.process import logs
from tests.bench import probe


async def probed(configuration: RunnerSettings) -> None:
    """Run until told to stop."""
    async with probe.lags() as lags:
        await main(configuration, mould.start())
    probe.write(Path(os.environ["BENCH_NOTES"], "supervisor.json"), lags=lags)


if __name__ == "__main__":
    loaded = settings.load(RunnerSettings)
    logs.setup("runner", level=loaded.log_level, form=loaded.log_format)
    asyncio.run(probed(loaded))
