"""What is told of single frames."""

import msgspec
from pipecat.frames.frames import TranscriptionFrame
from pipecat.observers.base_observer import FramePushed
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from services.runner.call.activity import Outlet
from services.runner.call.call import Call
from services.runner.pipe import Happened
from shared.contract import Transcript
from tests.launching import a_launch


async def test_a_sentence_with_half_a_character_is_told_without_it() -> None:
    """The whole sentence was lost, and a traceback was in the log in its place."""
    told: list[bytes] = []
    outlet = Outlet()
    outlet.open(a_launch(), lambda happened: told.append(msgspec.json.encode(happened)), transcripts=True)
    here, frame = FrameProcessor(), TranscriptionFrame(text="Hello \ud83d there.", user_id="u", timestamp="")
    call = Call(outlet)
    data = FramePushed(here, here, frame, FrameDirection.DOWNSTREAM, 0)
    call.acts[TranscriptionFrame](frame, data)
    [activity] = [msgspec.json.decode(one, type=Happened).activity for one in told]
    assert isinstance(activity, Transcript)
    assert activity.text == "Hello ? there."
