"""What a slot costs in memory, warm and in a call, beside the same bot in a fresh process of its own."""

import asyncio
import json
import statistics
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.runner.forking.process_names import SESSION_PROCESS, ZYGOTE
from services.runner.settings import BUILT_IN
from shared.redis.connection import Redis
from tests.bench import memory
from tests.bench.conftest import Scale
from tests.bench.figures import Figure, Figures
from tests.processes import START_S, Children, Fleet, children_called
from tests.test_webrtc_call import caller
from tests.webrtc_peer import WebRTCPeer

SUPERVISOR_MIB = 60.0
BOT = BUILT_IN


@pytest.mark.parametrize("slots", [1, 4, 16])
async def test_memory_of_warm_slots(
    children: Children, redis: Redis, scale: Scale, figures: Figures, slots: int
) -> None:
    slots = scale.of(slots, 1)
    fleet = Fleet(children, redis, {"BOT": BOT, "RUNNER_SLOTS": str(slots)})
    runner = fleet.add_runner()
    fresh = children.start("fresh", [sys.executable, "-m", "tests.bench.fresh_bot", BOT])
    await fleet.until_free(slots)
    await fresh.said("ready", START_S)
    processes = [memory.of(pid) for pid in children_called(SESSION_PROCESS, runner.pid)]
    (zygote,) = children_called(ZYGOTE, runner.pid)
    assert len(processes) == slots
    alone, supervisor, mould = memory.of(fresh.pid), memory.of(runner.pid), memory.of(zygote)
    await fleet.aclose()
    slot = statistics.median(process.private for process in processes)
    once = supervisor.private + mould.private
    whole = slot + once / slots
    figures.needs["a warm slot: memory"] = (slot, "MiB")
    figures.needs["a runner besides its slots: memory that it shares with nobody"] = (once, "MiB")
    of = f"{slots} slots" if slots > 1 else "1 slot"
    figures.add(
        Figure(
            what=f"private memory of a warm slot, runner with {of}",
            unit="MiB",
            ours=slot,
            beside="fresh process",
            other=alone.private,
            at_most=0.2,
        )
    )
    figures.add(
        Figure(
            what=f"the same with its share of what only supervisor and mould have, {of}",
            unit="MiB",
            ours=whole,
            beside="fresh process",
            other=alone.private,
        )
    )
    figures.add(
        Figure(
            what=f"private memory of the supervisor, {of}",
            unit="MiB",
            ours=supervisor.private,
            beside="limit",
            other=SUPERVISOR_MIB,
            at_most=1.0,
        )
    )


def caller_of_fresh(place: Path) -> WebRTCPeer:
    """Someone who calls the bot in the fresh process."""

    async def signal(offer: Mapping[str, str]) -> Mapping[str, str]:
        reader, writer = await asyncio.open_unix_connection(place, limit=1 << 20)
        writer.write(json.dumps(dict(offer)).encode() + b"\n")
        answer: dict[str, str] = json.loads(await reader.readline())
        writer.close()
        return answer

    return WebRTCPeer(signal)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("slots", [1, 4, 16])
async def test_memory_of_slots_in_calls(
    children: Children, redis: Redis, scale: Scale, figures: Figures, tmp_path: Path, slots: int
) -> None:
    """Each bot has greeted its caller: it has spoken, and listened for a while."""
    slots, place = scale.of(slots, 1), tmp_path / "call"
    fleet = Fleet(children, redis, {"BOT": BOT, "RUNNER_SLOTS": str(slots)})
    runner = fleet.add_runner()
    fresh = children.start("fresh", [sys.executable, "-m", "tests.bench.fresh_call", BOT, str(place)])
    await fleet.until_free(slots)
    await fresh.said("ready", START_S)
    idle = memory_of_slots(runner.pid, slots)
    async with AsyncExitStack() as calls:
        joined = [await fleet.join(transport="webrtc") for _ in range(slots)]
        peers = [caller(fleet, one["session_id"]) for one in joined]
        for peer in (*peers, caller_of_fresh(place)):
            await calls.enter_async_context(peer)
            await peer.wait_for_sound(START_S)
        await asyncio.sleep(scale.of(5.0, 0.1))
        live, alone = memory_of_slots(runner.pid, slots), memory.of(fresh.pid)
        for one in joined:
            await fleet.http.delete(f"/sessions/{one['session_id']}")
    fresh.kill()
    await fleet.aclose()
    figures.needs["a call of the built-in assistant: memory that it shares with nobody"] = (live.private, "MiB")
    of = f"{slots} slots" if slots > 1 else "1 slot"
    for what, ours, other, beside in (
        ("private memory of a slot in a call", live.private, alone.private, "fresh process in a call"),
        ("proportional memory of a slot in a call", live.proportional, alone.proportional, "fresh process in a call"),
        ("private memory of a slot in a call", live.private, idle.private, "warm slot"),
    ):
        figures.add(Figure(what=f"{what}, runner with {of}", unit="MiB", ours=ours, beside=beside, other=other))


def memory_of_slots(runner: int, slots: int) -> memory.Memory:
    """The median of the processes in a runner's slots."""
    found = [memory.of(pid) for pid in children_called(SESSION_PROCESS, runner)]
    assert len(found) == slots
    return memory.Memory(
        private=statistics.median(one.private for one in found),
        proportional=statistics.median(one.proportional for one in found),
    )
