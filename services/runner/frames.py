"""Frames of Pipefleet's own, for bots that want to know more than Pipecat tells them."""

from dataclasses import dataclass

from pipecat.frames.frames import SystemFrame


@dataclass
class SessionEndingFrame(SystemFrame):
    """The session's longest time is nearly over: time to say goodbye. It goes downstream through every processor."""

    left_s: float
