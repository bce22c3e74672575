"""How many joins one gateway process takes in a second, beside the original's gateway and beside no work at all."""

import statistics

import pytest

from shared.redis.connection import Redis
from tests.bench import load, stacks
from tests.bench.conftest import Scale
from tests.bench.entered import listening
from tests.bench.figures import Figure, Figures
from tests.processes import Children, Fleet

TARGETS = {"/join of the original": 3.0, "/empty": 0.6}


@pytest.mark.parametrize("connections", [32, 256])
async def test_joins_per_second(
    children: Children, redis: Redis, scale: Scale, figures: Figures, connections: int
) -> None:
    connections = scale.of(connections, 4)
    async with listening() as entered:
        ours = Fleet(children, redis, {"QUEUE_LIMIT": "10000000"})
        url = str(ours.http.base_url)
        await stacks.until_listening(url)
        original = await stacks.original_gateway(children)
        floor = await stacks.floor(children, entered)
        places = {
            "/join": (url, "/join"),
            "/join of the original": (original, "/join"),
            "/empty": (floor.url, "/empty"),
            "/join of the floor": (floor.url, "/join"),
        }
        per_s: dict[str, list[float]] = {name: [] for name in places}
        for turn in range(scale.of(3, 1)):
            for name, (where, path) in places.items():
                found = await load.drive(
                    where,
                    path,
                    f"{turn}-{connections}",
                    connections=connections,
                    warm_up_s=scale.of(1.0, 0.1),
                    for_s=scale.of(3.0, 0.2),
                )
                assert not found.refused, found
                per_s[name].append(found.per_s)
            await redis.flushall()
        await ours.aclose()
    medians = {name: statistics.median(found) for name, found in per_s.items()}
    figures.needs["a gateway process: joins"] = (medians["/join"], "/s")
    for name in ("/join of the original", "/join of the floor", "/empty"):
        figures.add(
            Figure(
                what=f"joins at {connections} connections",
                unit="/s",
                ours=medians["/join"],
                beside=name,
                other=medians[name],
                at_least=TARGETS.get(name),
            )
        )
