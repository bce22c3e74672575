"""What looking at every frame costs, beside what Pipecat does with it: `python -m tests.bench.bench_observer`."""

import asyncio
import time

from pipecat.frames.frames import BotConnectedFrame, ClientConnectedFrame, ErrorFrame, Frame, OutputAudioRawFrame
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_input import BaseInputTransport

from services.runner.pipelines import Seen, _Observer

COUNT = 200_000


class Nothing(BaseObserver):
    """Does nothing with a frame."""

    async def on_push_frame(self, data: FramePushed) -> None:
        """Nothing."""


class Arrival(BaseObserver):
    """Looks for two kinds of frames one after the other, by class."""

    async def on_push_frame(self, data: FramePushed) -> None:
        """Nothing, for audio."""
        match data.frame:
            case BotConnectedFrame() | ClientConnectedFrame():
                pass
            case ErrorFrame(processor=BaseInputTransport()):
                pass


async def ns_per_frame(observer: BaseObserver) -> float:
    """The best of some rounds."""
    processor: FrameProcessor = IdentityFilter()  # type: ignore[no-untyped-call]
    frame: Frame = OutputAudioRawFrame(b"\0" * 640, 16_000, 1)
    pushed = FramePushed(processor, processor, frame, FrameDirection.DOWNSTREAM, 0)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(COUNT):
            await observer.on_push_frame(pushed)
        best = min(best, (time.perf_counter() - begun) / COUNT * 1e9)
    return best


async def main() -> None:
    """Print what each costs, and as a ratio to an observer that does nothing."""
    nothing = await ns_per_frame(Nothing())
    for name, observer in (("by class, one by one", Arrival()), ("by type, this one", _Observer(Seen()))):
        ns = await ns_per_frame(observer)
        print(f"{name}: {ns:.0f} ns per audio frame, {ns / nothing:.1f} times an observer that does nothing")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
