"""Takes its words from the request, and looks at what kind of arguments it got."""

import os

from loguru import logger
from pipecat.frames.frames import EndFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.runner.types import DailyRunnerArguments, RunnerArguments, SmallWebRTCRunnerArguments
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.transports.daily.transport import DailyParams, DailyTransport
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from pipecat.workers.runner import WorkerRunner


async def run_bot(transport: BaseTransport, runner_args: RunnerArguments):
    body = runner_args.body or {}
    logger.info(f"A call with {sorted(body)}")
    tts = OpenAITTSService(api_key=os.getenv("OPENAI_API_KEY"))
    worker = PipelineWorker(
        Pipeline([tts, transport.output()]), idle_timeout_secs=runner_args.pipeline_idle_timeout_secs
    )

    @transport.event_handler("on_client_connected")
    async def on_client_connected(transport, client):
        await worker.queue_frames([TTSSpeakFrame(f"Welcome, {body['guest']['name']}."), EndFrame()])

    runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()


async def bot(runner_args: RunnerArguments):
    if isinstance(runner_args, DailyRunnerArguments):
        transport = DailyTransport(runner_args.room_url, runner_args.token, "Bot", DailyParams(audio_out_enabled=True))
    elif isinstance(runner_args, SmallWebRTCRunnerArguments):
        transport = SmallWebRTCTransport(runner_args.webrtc_connection, TransportParams(audio_out_enabled=True))
    else:
        raise TypeError(f"no transport for {type(runner_args)}")
    await run_bot(transport, runner_args)


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
