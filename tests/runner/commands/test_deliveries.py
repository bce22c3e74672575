"""A command's turn, in the bot's process."""

import asyncio
import time

from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker

from services.runner.call.pipelines import Seen
from services.runner.commands.deliveries import Deliveries
from services.runner.pipe import Do, Done
from shared.contract import Custom, Outcome
from tests.launching import a_launch
from tests.waiting import until


async def test_a_command_whose_time_is_over_when_the_bot_has_a_pipeline_at_last_has_expired() -> None:
    """A bot may be there long before its pipeline is: it was given what nobody wanted any more."""
    told: asyncio.Queue[Done] = asyncio.Queue()
    taken: list[str] = []
    there, seen = asyncio.Event(), Seen()
    there.set()
    deliveries = Deliveries(told.put_nowait, a_launch(), None, there, lambda: seen)
    delivering = asyncio.create_task(deliveries.commands())
    due = time.monotonic() + 0.05
    deliveries.take(Do(entry="1-0", command=Custom(command_id="late", data=1), due=due))
    deliveries.take(Do(entry="2-0", command=Custom(command_id="in time", data=2)))
    await until(lambda: time.monotonic() > due)
    worker = PipelineWorker(Pipeline([]))
    worker.on_command = lambda command_id, _: taken.append(command_id)  # type: ignore[attr-defined]
    seen.add_worker(worker)
    replies = [(await told.get()).reply for _ in range(2)]
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)
    assert [reply.outcome for reply in replies] == [Outcome.EXPIRED, Outcome.DELIVERED]
    assert taken == ["in time"]
