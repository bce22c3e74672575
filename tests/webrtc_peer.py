"""The other end of a WebRTC call, for tests: really sends speech, really hears what the bot says."""

import asyncio
import contextlib
import fractions
from array import array
from collections.abc import Awaitable, Callable, Mapping
from math import sqrt
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler

MICROPHONE_RATE_HZ = 22_050
EARPHONE_RATE_HZ = 48_000

# Decoded silence is below 10, eSpeak's speech above 1000 except in its pauses.
_SOUND_RMS = 150.0
_SOUND_LASTS_S = 0.06
_FRAME_S = 0.02

SignalOffer = Callable[[Mapping[str, str]], Awaitable[Mapping[str, str]]]


class CallEndedError(Exception):
    """The bot hung up while the peer still waited for something."""


class WebRTCPeer:
    """One caller. `async with` calls and hangs up.

    Offers one audio track and one data channel, with host candidates only (no STUN), or with those of a TURN server
    only. Silence is sent whenever nothing is spoken, as a microphone does.
    """

    def __init__(self, signal_offer: SignalOffer, relay: RTCIceServer | None = None) -> None:
        """Prepare a call; nothing happens before `connect`.

        Args:
            signal_offer: Takes the offer (``{"sdp", "type"}``, all candidates included) to the bot and brings back the
                answer in the same form; further keys are kept in `answer`.
            relay: The TURN server through which everything is to go.
        """
        self.answer: Mapping[str, str] = {}
        self.messages: list[str] = []
        """What the bot sent over the data channel."""
        self.heard = array("h")
        """All the audio since the call began: mono, at `EARPHONE_RATE_HZ`."""
        self._signal_offer = signal_offer
        self._relay = relay
        self._connection: RTCPeerConnection | None = None
        self._channel: RTCDataChannel | None = None
        self._open = asyncio.Event()
        self._told = asyncio.Event()
        self._microphone = _Microphone()
        self._listener: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._sounding_s = 0.0
        self._silent_s = 0.0
        self._ended = False

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.hang_up()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    async def connect(self) -> None:
        """Exchange offer and answer; returns before media flows."""
        self.answer = await self._signal_offer(await self.create_offer())
        await self.apply_answer(self.answer)

    async def create_offer(self) -> dict[str, str]:
        """Open the connection and return its offer, with all of its candidates."""
        # aiortc falls back to a public STUN server unless told that there is none.
        configuration = RTCConfiguration(iceServers=[])
        if self._relay:
            configuration = RTCConfiguration([self._relay], iceTransportPolicy=RTCIceTransportPolicy.RELAY)
        connection = self._connection = RTCPeerConnection(configuration)
        connection.addTransceiver(self._microphone, direction="sendrecv")
        connection.on("track", self._listen)
        self._channel = connection.createDataChannel("pipecat")
        self._channel.on("message", self._take_message)
        self._channel.on("open", self._open.set)
        await connection.setLocalDescription(await connection.createOffer())
        return {"sdp": connection.localDescription.sdp, "type": connection.localDescription.type}

    async def apply_answer(self, answer: Mapping[str, str]) -> None:
        """Take the bot's answer, from which on the connection is being made."""
        assert self._connection is not None, "create_offer comes first"
        await self._connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))

    async def hang_up(self) -> None:
        """End the call; does nothing if it has ended."""
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
        self._microphone.stop()
        if self._connection is not None:
            await self._connection.close()

    def speak(self, pcm: bytes) -> None:
        """Say this, after what is still being said: 16-bit mono at `MICROPHONE_RATE_HZ`, eSpeak NG's own rate."""
        self._microphone.speak(pcm)

    async def wait_until_spoken(self) -> None:
        """Wait until everything given to `speak` has been sent."""
        await self._microphone.idle.wait()

    async def wait_for_sound(self, timeout_s: float = 10.0) -> None:
        """Wait until the bot is heard; at once if it is being heard.

        Raises:
            TimeoutError: There was none in time.
            CallEndedError: The bot hung up first.
        """
        await self._wait(lambda: self._sounding_s >= _SOUND_LASTS_S, timeout_s)

    async def wait_for_silence(self, lasting_s: float = 1.0, timeout_s: float = 30.0) -> None:
        """Wait until the bot has been silent for ``lasting_s``, which should be longer than pauses between sentences.

        Raises:
            TimeoutError: It kept talking.
            CallEndedError: The bot hung up first.
        """
        await self._wait(lambda: self._silent_s >= lasting_s, timeout_s)

    async def send(self, message: str, timeout_s: float = 10.0) -> None:
        """Send this over the data channel, as soon as it is open.

        Raises:
            TimeoutError: It did not open.
        """
        async with asyncio.timeout(timeout_s):
            await self._open.wait()
        assert self._channel is not None
        self._channel.send(message)

    async def wait_for_message(self, wanted: Callable[[str], bool], timeout_s: float = 15.0) -> str:
        """The first message like this that the bot has sent since the call began, waited for.

        Raises:
            TimeoutError: There was none in time.
        """
        async with asyncio.timeout(timeout_s):
            while not (found := [message for message in self.messages if wanted(message)]):
                self._told.clear()
                await self._told.wait()
        return found[0]

    async def wait_for_end(self, timeout_s: float = 10.0) -> None:
        """Wait until the bot hangs up.

        Raises:
            TimeoutError: It did not.
        """
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: self._ended)

    def _take_message(self, message: str) -> None:
        self.messages.append(message)
        self._told.set()

    async def _wait(self, condition: Callable[[], bool], timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: self._ended or condition())
        if not condition():
            raise CallEndedError

    def _listen(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self._listener = asyncio.create_task(self._record(track))

    async def _record(self, track: MediaStreamTrack) -> None:
        to_mono = AudioResampler(format="s16", layout="mono", rate=EARPHONE_RATE_HZ)
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                for mono in to_mono.resample(frame):
                    await self._hear(np.asarray(mono.to_ndarray(), dtype=np.int16).reshape(-1))
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def _hear(self, samples: npt.NDArray[np.int16]) -> None:
        seconds = len(samples) / EARPHONE_RATE_HZ
        is_sound = sqrt(np.mean(np.square(samples, dtype=np.float64))) > _SOUND_RMS
        async with self._changed:
            self.heard.frombytes(samples.tobytes())
            self._sounding_s = self._sounding_s + seconds if is_sound else 0.0
            self._silent_s = 0.0 if is_sound else self._silent_s + seconds
            self._changed.notify_all()


class _Microphone(MediaStreamTrack):
    """A track in real time: what was given to `speak`, otherwise silence."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.idle = asyncio.Event()
        self.idle.set()
        self._pending = bytearray()
        self._samples_sent = 0
        self._began_at_s: float | None = None

    def speak(self, pcm: bytes) -> None:
        self._pending += pcm
        self.idle.clear()

    async def recv(self) -> AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        now_s = asyncio.get_running_loop().time()
        if self._began_at_s is None:
            self._began_at_s = now_s
        # Real time is what is being simulated here.
        await asyncio.sleep(max(0.0, self._began_at_s + self._samples_sent / MICROPHONE_RATE_HZ - now_s))
        return self._next_frame()

    def _next_frame(self) -> AudioFrame:
        samples = round(_FRAME_S * MICROPHONE_RATE_HZ)
        frame = AudioFrame(format="s16", layout="mono", samples=samples)
        chunk = bytes(self._pending[: samples * 2]).ljust(samples * 2, b"\0")
        del self._pending[: samples * 2]
        if not self._pending:
            self.idle.set()
        frame.planes[0].update(chunk.ljust(frame.planes[0].buffer_size, b"\0"))
        frame.pts = self._samples_sent
        frame.sample_rate = MICROPHONE_RATE_HZ
        frame.time_base = fractions.Fraction(1, MICROPHONE_RATE_HZ)
        self._samples_sent += samples
        return frame
