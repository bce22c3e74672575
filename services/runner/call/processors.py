"""The processors that a pipeline is made of."""

from collections.abc import Iterator

from pipecat.processors.frame_processor import FrameProcessor


def all_of(processor: FrameProcessor) -> Iterator[FrameProcessor]:
    """This one, and all that are in it, however deep."""
    yield processor
    for inner in processor.processors:
        yield from all_of(inner)
