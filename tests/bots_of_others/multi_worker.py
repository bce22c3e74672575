"""Two workers: one that talks, and one that adds for it."""

import os

from pipecat.frames.frames import EndFrame, TTSSpeakFrame
from pipecat.pipeline.job_context import JobParams
from pipecat.pipeline.job_decorator import job
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.transports.daily.transport import DailyParams
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.runner import WorkerRunner

transport_params = {
    "daily": lambda: DailyParams(audio_in_enabled=True, audio_out_enabled=True),
    "webrtc": lambda: TransportParams(audio_in_enabled=True, audio_out_enabled=True),
}


class Clerk(BaseWorker):
    @job(name="add")
    async def on_add(self, message):
        await self.send_job_response(message.job_id, {"sum": sum(message.payload["numbers"])})


async def run_bot(transport: BaseTransport, runner_args: RunnerArguments):
    tts = OpenAITTSService(api_key=os.getenv("OPENAI_API_KEY"))
    worker = PipelineWorker(Pipeline([tts, transport.output()]))
    runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)

    @transport.event_handler("on_client_connected")
    async def on_client_connected(transport, client):
        async with worker.job("clerk", params=JobParams(name="add", payload={"numbers": [19, 23]}, timeout=5)) as t:
            pass
        await worker.queue_frames([TTSSpeakFrame(f"The clerk says {t.response['sum']}."), EndFrame()])

    @worker.event_handler("on_pipeline_finished")
    async def on_pipeline_finished(worker, frame):
        await runner.end()

    await runner.add_workers(Clerk("clerk"), worker)
    await runner.run()


async def bot(runner_args: RunnerArguments):
    transport = await create_transport(runner_args, transport_params)
    await run_bot(transport, runner_args)


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
