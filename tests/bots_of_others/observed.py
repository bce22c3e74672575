"""An observer counts what is said, and the client is told."""

import os

from pipecat.frames.frames import BotStoppedSpeakingFrame, EndFrame, TTSSpeakFrame, TTSTextFrame
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.transports.daily.transport import DailyParams
from pipecat.workers.runner import WorkerRunner

transport_params = {
    "daily": lambda: DailyParams(audio_in_enabled=True, audio_out_enabled=True),
    "webrtc": lambda: TransportParams(audio_in_enabled=True, audio_out_enabled=True),
}


class WordCounter(BaseObserver):
    def __init__(self):
        super().__init__()
        self.words = 0

    async def on_push_frame(self, data: FramePushed):
        if isinstance(data.frame, TTSTextFrame) and isinstance(data.source, BaseOutputTransport):
            self.words += len(data.frame.text.split())


async def run_bot(transport: BaseTransport, runner_args: RunnerArguments):
    tts = OpenAITTSService(api_key=os.getenv("OPENAI_API_KEY"))
    counter = WordCounter()
    worker = PipelineWorker(Pipeline([transport.input(), tts, transport.output()]), observers=[counter])
    worker.set_reached_upstream_filter((BotStoppedSpeakingFrame,))

    @worker.rtvi.event_handler("on_client_ready")
    async def on_client_ready(rtvi):
        await worker.queue_frame(TTSSpeakFrame("One two three."))

    @worker.event_handler("on_frame_reached_upstream")
    async def on_frame_reached_upstream(worker, frame):
        await worker.rtvi.send_server_message({"words": counter.words})
        await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()


async def bot(runner_args: RunnerArguments):
    transport = await create_transport(runner_args, transport_params)
    await run_bot(transport, runner_args)


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
