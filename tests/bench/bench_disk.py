"""What a launch waits for the disk of Redis, which has what a join was answered before the answer is sent."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from shared.redis import connection
from tests.bench import stacks
from tests.bench.bench_launch import at_rate, one_by_one
from tests.bench.conftest import Scale
from tests.bench.entered import Entered, listening
from tests.bench.figures import Figure, Figures, percentile
from tests.bench.stacks import Ours
from tests.processes import ROOT, Children
from tests.redis_server import EMBEDDED, RedisServer

KEEPING = ("appendonly ", "appendfsync ")
"""What of the shipped settings says when something is on the disk."""


def kept() -> list[str]:
    """The options of a server as it is shipped, for what it keeps."""
    lines = (ROOT / "k8s/redis/valkey.conf").read_text().splitlines()
    pairs = [line.split() for line in lines if line.startswith(KEEPING)]
    return [word for name, value in pairs for word in (f"--{name}", value)]


@asynccontextmanager
async def fleet_on(options: list[str], name: str, folder: Path, entered: Entered, slots: int) -> AsyncIterator[Ours]:
    """A gateway, an operator and a runner, with a server of their own."""
    folder.mkdir()
    server = RedisServer(EMBEDDED, folder, *options)
    server.start()
    children = Children(folder, {"REDIS_URL": server.url})
    try:
        async with connection.connect(server.url) as redis:
            async with stacks.ours(children, redis, entered, runners=1, slots=slots) as stack:
                stack.name = name
                yield stack
            await children.stop()
    finally:
        server.kill()


async def test_launch_with_a_server_that_waits_for_its_disk(tmp_path: Path, scale: Scale, figures: Figures) -> None:
    rounds, count, slots = scale.of(5, 1), scale.of(40, 3), scale.of(8, 2)
    options = {"on disk": kept(), "in memory": []}
    async with listening() as entered, AsyncExitStack() as stack, aiohttp.ClientSession() as http:
        both = [
            await stack.enter_async_context(fleet_on(wanted, name, tmp_path / name, entered, slots))
            for name, wanted in options.items()
        ]
        took: dict[str, dict[str, list[float]]] = {"one by one": {}, "at 10/s": {}}
        for turn in range(rounds + 1):
            for one in both:
                await one.until_warm()
                alone = await one_by_one(http, one, entered, count)
                beside = await at_rate(http, one, entered, count, 10)
                if turn or not scale.full:
                    took["one by one"].setdefault(one.name, []).extend(alone)
                    took["at 10/s"].setdefault(one.name, []).extend(beside)
    for how, found in took.items():
        for share, called in ((0.5, "p50"), (0.99, "p99")):
            ours, other = (percentile(found[name], share) for name in options)
            what = f"launch {how}, {called}, with a server that waits for its disk"
            figures.add(Figure(what=what, unit="ms", ours=ours, beside="in memory", other=other))
