"""What looking at every frame of a call costs, and what it costs to send events to many clients."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
from pipecat.frames.frames import BotConnectedFrame, ClientConnectedFrame, ErrorFrame, Frame, OutputAudioRawFrame
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_input import BaseInputTransport

from services.runner.call.pipelines import Seen, _Observer
from shared.contract import EVENTS, FIELD, Running
from shared.redis.connection import Redis
from shared.redis.entries import encode
from tests.bench.conftest import Scale
from tests.gateway.test_process import started
from tests.processes import Child, Children

FRAMES = 200_000
EVENTS_SENT = 5_000
CLIENTS = 100
UNDER = "Events:"


class Nothing(BaseObserver):
    async def on_push_frame(self, data: FramePushed) -> None:
        pass


class OneByOne(BaseObserver):
    """Asks for three classes of frames one after the other."""

    async def on_push_frame(self, data: FramePushed) -> None:
        match data.frame:
            case BotConnectedFrame() | ClientConnectedFrame():
                pass
            case ErrorFrame(processor=BaseInputTransport()):
                pass


async def ns_per_frame(observer: BaseObserver, frames: int) -> float:
    """The best of some rounds."""
    processor: FrameProcessor = IdentityFilter()  # type: ignore[no-untyped-call]
    frame: Frame = OutputAudioRawFrame(b"\0" * 640, 16_000, 1)
    pushed = FramePushed(processor, processor, frame, FrameDirection.DOWNSTREAM, 0)
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(frames):
            await observer.on_push_frame(pushed)
        best = min(best, (time.perf_counter() - begun) / frames * 1e9)
    return best


async def test_what_an_audio_frame_costs(tell: Callable[..., None], scale: Scale) -> None:
    frames = scale.of(FRAMES, 1000)
    nothing = await ns_per_frame(Nothing(), frames)
    for name, observer in (("asking class by class", OneByOne()), ("the observer, by type", _Observer(Seen()))):
        ns = await ns_per_frame(observer, frames)
        tell(f"{name}: {ns:.0f} ns per audio frame, {ns / nothing:.2f} times an observer that does nothing", UNDER)


async def test_what_a_hundred_clients_cost_beside_one(
    children: Children, redis: Redis, tell: Callable[..., None], scale: Scale
) -> None:
    events, clients = scale.of(EVENTS_SENT, 2_000), scale.of(CLIENTS, 3)
    async with started(children) as (gateway, http):
        one_s, took_s, _ = await cpu_s(gateway, http, redis, 1, events)
        before_kb = resident_kb(gateway)
        many_s, took_many_s, after_kb = await cpu_s(gateway, http, redis, clients, events)
    tell(f"1 client: {events / took_s:.0f} events/s, {one_s / events * 1e6:.0f} µs of CPU per event", UNDER)
    tell(
        f"{clients} clients: {events * clients / took_many_s:.0f} events/s, {many_s / one_s:.1f} times the CPU of "
        f"one, {many_s / events / clients * 1e6:.1f} µs per event and client",
        UNDER,
    )
    tell(f"memory per client that listens: {(after_kb - before_kb) / clients:.0f} KiB", UNDER)


async def cpu_s(
    gateway: Child, http: httpx.AsyncClient, redis: Redis, clients: int, events: int
) -> tuple[float, float, int]:
    """CPU time of the gateway, and time, for the events to reach so many clients; and its memory as they listen."""
    async with AsyncExitStack() as stack:
        streams = [await connected(stack, http) for _ in range(clients)]
        memory_kb = resident_kb(gateway)
        begun, cpu = time.monotonic(), cpu_of(gateway)
        reading = [asyncio.create_task(read(stream, events)) for stream in streams]
        event = encode(Running(session_id="6f1c1f0e-55a5-4c0a-9a35-0b8a5e1fd3a1", attempt=1))
        for _ in range(events // 50):
            async with redis.pipeline(transaction=False) as pipe:
                for _ in range(50):
                    pipe.xadd(EVENTS, {FIELD: event})
                await pipe.execute()
            await asyncio.sleep(0.001)
        await asyncio.gather(*reading)
        return cpu_of(gateway) - cpu, time.monotonic() - begun, memory_kb


async def connected(stack: AsyncExitStack, http: httpx.AsyncClient) -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
    stack.callback(writer.close)
    writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"id: ")
    return reader


async def read(stream: asyncio.StreamReader, events: int) -> None:
    got = 0
    while got < events:
        part = await stream.read(1 << 20)
        assert part, f"cut after {got} events"
        got += part.count(b"event: running")


def cpu_of(child: Child) -> float:
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kb(child: Child) -> int:
    return int(Path(f"/proc/{child.pid}/status").read_text().partition("VmRSS:")[2].split()[0])
