"""What a group knows of the operators that share its streams."""

from contextlib import aclosing

import pytest

from services.operator import portion
from services.operator.portion import Portion
from shared.redis.connection import Redis
from shared.redis.streams import ensure_group, read_group

STREAM, GROUP = "{bot}:portioned", "operators"


async def test_an_operator_that_is_gone_is_forgotten_unless_it_holds_something(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portion, "CONSUMER_GONE_S", 0.0)
    await ensure_group(redis, STREAM, GROUP)
    await redis.xadd(STREAM, {"json": "{}"})
    assert await read_group(redis, GROUP, "holds one", {STREAM: ">"})
    await redis.xgroup_createconsumer(STREAM, GROUP, "holds nothing")
    async with aclosing(Portion(redis, "alive", GROUP, [STREAM])) as its:
        await its.drop_gone()
    assert [one["name"] for one in await redis.xinfo_consumers(STREAM, GROUP)] == ["holds one"]
