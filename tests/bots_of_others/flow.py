"""Asks for a name, and then says goodbye: two nodes of a flow."""

import os

from pipecat.flows import FlowManager, FlowsFunctionSchema, NodeConfig
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.transports.daily.transport import DailyParams
from pipecat.workers.runner import WorkerRunner

transport_params = {
    "daily": lambda: DailyParams(audio_in_enabled=True, audio_out_enabled=True),
    "webrtc": lambda: TransportParams(audio_in_enabled=True, audio_out_enabled=True),
}


async def take_name(args, flow_manager: FlowManager):
    flow_manager.state["name"] = args["name"]
    return {"status": "success"}, goodbye_node()


def name_node() -> NodeConfig:
    return {
        "name": "name",
        "role_message": "You are a porter.",
        "task_messages": [{"role": "developer", "content": "Ask for the guest's name."}],
        "functions": [
            FlowsFunctionSchema(
                name="take_name",
                description="Note the guest's name.",
                properties={"name": {"type": "string"}},
                required=["name"],
                handler=take_name,
            )
        ],
    }


def goodbye_node() -> NodeConfig:
    return {
        "name": "goodbye",
        "task_messages": [{"role": "developer", "content": "Say goodbye to {{ name }}."}],
        "functions": [],
        "post_actions": [{"type": "end_conversation"}],
    }


async def run_bot(transport: BaseTransport, runner_args: RunnerArguments):
    llm = OpenAILLMService(api_key=os.getenv("OPENAI_API_KEY"))
    tts = OpenAITTSService(api_key=os.getenv("OPENAI_API_KEY"))
    aggregators = LLMContextAggregatorPair(LLMContext())
    worker = PipelineWorker(
        Pipeline([transport.input(), aggregators.user(), llm, tts, transport.output(), aggregators.assistant()])
    )
    flow_manager = FlowManager(worker=worker, llm=llm, context_aggregator=aggregators, transport=transport)

    @transport.event_handler("on_client_connected")
    async def on_client_connected(transport, client):
        await flow_manager.initialize(name_node())

    runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()


async def bot(runner_args: RunnerArguments):
    transport = await create_transport(runner_args, transport_params)
    await run_bot(transport, runner_args)


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
