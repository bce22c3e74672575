"""A bot that imports Pipecat only when it is called, and joins a Daily room."""

from typing import Any


async def bot(runner_args: Any) -> None:
    """Run a pipeline with nothing but a transport in it."""
    from pipecat.pipeline.pipeline import Pipeline  # noqa: PLC0415
    from pipecat.pipeline.worker import PipelineWorker  # noqa: PLC0415
    from pipecat.transports.daily.transport import DailyParams, DailyTransport  # noqa: PLC0415
    from pipecat.workers.runner import WorkerRunner  # noqa: PLC0415

    transport = DailyTransport(runner_args.room_url, runner_args.token, "lazy", DailyParams())
    runner = WorkerRunner(handle_sigint=False, handle_sigterm=False)
    await runner.add_workers(PipelineWorker(Pipeline([transport.input(), transport.output()])))
    await runner.run()
