"""The assistant, with a note in BENCH_NOTES of how late its sound leaves and its event loop turns, by session.

A frame of 10 ms leaves when the output's track gives it away, and is due by that track's own schedule. That begins when
the track is made; what was due before there was a connection is made up for in one burst, of silence, and is not noted.
"""

import os
import time
from pathlib import Path

from pipecat.runner.types import RunnerArguments
from pipecat.transports.smallwebrtc.transport import RawAudioTrack

from services.runner.bots import assistant
from tests.bench import probe

warm_up = assistant.warm_up
_frames: probe.Note = []
_cpu: probe.Note = []
_give = RawAudioTrack.recv


async def _noted(track: RawAudioTrack) -> object:
    due = track._start + track._timestamp / track._sample_rate
    frame: object = await _give(track)  # type: ignore[no-untyped-call]
    late_ms = max(0.0, time.time() - due) * 1000
    _cpu.append((time.monotonic(), time.process_time() * 1000))
    if _frames or late_ms <= probe.FRAME_MS:
        _frames.append((time.monotonic(), late_ms))
    return frame


async def bot(args: RunnerArguments) -> None:
    """The assistant's call."""
    RawAudioTrack.recv = _noted  # type: ignore[method-assign]
    async with probe.lags() as lags:
        try:
            await assistant.bot(args)
        finally:
            probe.write(Path(os.environ["BENCH_NOTES"], f"{args.session_id}.json"), frames=_frames, cpu=_cpu, lags=lags)
