"""The file in `PIPECAT_SETUP_FILES`: Pipecat calls it for every runner and pipeline of any bot.

Pipecat loads it under a name of its own, so what it sees is kept in an ordinary module.
"""

from pipecat.pipeline.worker import PipelineWorker
from pipecat.workers.runner import WorkerRunner

from services.runner.call.pipelines import seen


async def setup_worker_runner(runner: WorkerRunner) -> None:
    """Called before the runner's workers start."""
    seen.add_runner(runner)


async def setup_pipeline_worker(worker: PipelineWorker) -> None:
    """Called while the worker sets up its pipeline."""
    seen.add_worker(worker)
