"""How often one key may ask, of one gateway and of several."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from services.gateway.access import rates
from services.gateway.access.rates import FRESH_S, Image, Rates
from services.gateway.errors import TooOften
from services.gateway.settings import GatewaySettings
from shared import contract
from shared.buckets import Buckets, Rate
from shared.errors import SettingsError
from shared.redis.connection import Redis
from shared.settings import load
from tests.gateway.conftest import Gateway, StartGateway, running_gateway
from tests.redis_server import RedisServer
from tests.waiting import until

KEYS = {"join_keys": ("one", "two"), "admin_keys": ("admin",)}
SLOW = "0.01,5"
"""Five, and for the rest of a test no more."""


def by(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def join(gateway: Gateway, key: str = "one") -> httpx.Response:
    return await gateway.http.post("/join", json={"transport": "none"}, headers=by(key))


async def test_who_starts_too_many_sessions_is_told_when_to_come_back(gateway_with: StartGateway) -> None:
    async with gateway_with(**KEYS, join_rate=SLOW) as gateway:
        statuses = [(await join(gateway)).status_code for _ in range(5)]
        answer = await join(gateway)
        other = await join(gateway, "two")
        fleet = await gateway.http.get("/fleet", headers=by("admin"))
    assert statuses == [202] * 5
    assert (answer.status_code, answer.json()["code"]) == (429, "TOO_OFTEN")
    assert 95 <= int(answer.headers["Retry-After"]) <= 100
    assert (other.status_code, fleet.status_code) == (202, 200)


async def test_connecting_is_not_counted_as_starting(gateway_with: StartGateway) -> None:
    """A WebRTC client sends each of its candidates in a request of its own."""
    async with gateway_with(**KEYS, join_rate="0.01,1", request_rate="0.01,3") as gateway:
        assert (await join(gateway)).status_code == 202
        body = {"pc_id": "1", "candidates": []}
        answers = [await gateway.http.patch("/sessions/x/api/offer", json=body, headers=by("one")) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
        assert (await gateway.http.get("/readyz")).status_code == 200


async def test_without_keys_all_callers_share_one_rate(gateway_with: StartGateway) -> None:
    async with gateway_with(join_rate=SLOW) as gateway:
        statuses = [(await join(gateway, str(number))).status_code for number in range(6)]
    assert statuses == [202] * 5 + [429]


async def test_several_gateways_let_pass_together_hardly_more_than_one_would(
    gateway_with: StartGateway, redis: Redis
) -> None:
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(gateway_with(join_rate="0.01,20")) for _ in range(3)]
        answers = await asyncio.gather(*(join(gateways[number % 3]) for number in range(120)))
        passed = sum(answer.status_code == 202 for answer in answers)
        assert 20 <= passed <= 23
        assert [(await join(gateway)).status_code for gateway in gateways] == [429] * 3
        assert await redis.xlen("{bot}:launch") == passed


async def test_a_join_takes_no_further_round_trip_for_its_rate(gateway_with: StartGateway, redis: Redis) -> None:
    """Its answer is there while what it took has not been told yet."""
    async with gateway_with(join_rate="1,5") as gateway:
        told = asyncio.Event()
        spend = gateway.parts.rates._buckets.spend

        async def held_back(spent: list[tuple[str, Rate, int]]) -> list[float]:
            await told.wait()
            return await spend(spent)

        gateway.parts.rates._buckets.spend = held_back  # type: ignore[method-assign, assignment]
        assert (await join(gateway)).status_code == 202
        assert await redis.keys("{bot}:rate:*") == []
        told.set()
        await until(lambda: redis.keys("{bot}:rate:*"))


async def test_while_redis_is_away_a_join_is_refused_for_that_and_its_rate_goes_on_afterwards(
    own_server: RedisServer,
) -> None:
    async with running_gateway(own_server.url, join_rate=SLOW) as gateway:
        assert (await join(gateway)).status_code == 202
        own_server.kill()
        answers = await asyncio.gather(*(join(gateway) for _ in range(3)))
        assert {answer.status_code for answer in answers} == {503}
        own_server.start()

        async def too_often() -> bool:
            return (await join(gateway)).status_code == 429

        await until(too_often)
        assert 2 <= await gateway.parts.redis.xlen(contract.LAUNCH) <= 5


async def test_a_bucket_that_redis_refuses_is_an_error_in_the_log_and_lets_hardly_anybody_pass(
    gateway_with: StartGateway, redis: Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    """As when an access list does not know these keys: those who waited for the answer would have waited for ever."""
    bucket = contract.rate_key("join", "anyone")
    await redis.lpush(bucket, "no bucket")
    async with gateway_with(join_rate="10,10") as gateway:
        statuses = [answer.status_code for answer in await asyncio.gather(*(join(gateway) for _ in range(10)))]
        assert (statuses.count(202), statuses.count(503)) == (1, 9)
        assert "rates_not_told" in "".join(capfd.readouterr())
        await redis.delete(bucket)

        async def passes() -> bool:
            return (await join(gateway)).status_code == 202

        await until(passes)


def test_an_image_fills_by_the_rate_and_never_above_it() -> None:
    image = Image(Rate(per_s=2, at_once=3), now=0.0)
    assert [image.take(0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert image.take(0.5) == 0
    assert image.level(100.0) == 3


def test_an_image_is_put_right_by_what_redis_says_but_for_what_it_does_not_know_yet() -> None:
    image = Image(Rate(per_s=1, at_once=10), now=0.0)
    for _ in range(4):
        image.take(0.0)
    image.put_right(level=2.0, told=3, now=1.0)
    assert (image.untold, image.level(1.0)) == (1, 1.0)
    image.put_right(level=-3.0, told=1, now=2.0)
    assert image.take(2.0) == 4.0


def test_of_an_image_a_part_may_be_untold_and_less_of_an_old_one() -> None:
    image = Image(Rate(per_s=1, at_once=48), now=0.0)
    image.put_right(level=40.0, told=0, now=0.0)
    settled = []
    for _ in range(4):
        settled.append((image.settled(0.0), image.settled(FRESH_S)))
        image.take(0.0)
    assert settled == [(True, True), (True, False), (True, False), (False, False)]


async def test_those_who_come_while_redis_is_asked_wait_for_what_it_says(redis: Redis) -> None:
    """A gateway that has not heard of a key for long does not know what others let pass."""
    first, second = (Rates(redis, {"join": Rate(0.01, 3), "other": None}) for _ in range(2))
    reading = [asyncio.create_task(one.run()) for one in (first, second)]
    for _ in range(3):
        await first.take("join", "key")
    bucket = (contract.rate_key("join", "key"), Rate(0.01, 3), 0)

    async def empty() -> bool:
        return (await Buckets(redis).spend([bucket]))[0] < 0.5

    await until(empty)
    results = await asyncio.gather(*(second.take("join", "key") for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [type(None)] + [TooOften] * 4
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("", None), ("10", Rate(10, 10)), ("10,50", Rate(10, 50)), ("0.5", Rate(0.5, 1)), ("0.1, 3", Rate(0.1, 3))],
)
def test_a_rate_is_so_many_a_second_and_so_many_at_once(text: str, rate: Rate | None) -> None:
    assert rates.parse(text) == rate


@pytest.mark.parametrize("text", ["0", "10/s", "-1", "1,0", "1,2,3", "nan", ","])
def test_what_is_no_rate_ends_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="REQUEST_RATE: expected requests a second and how many at once"):
        load(GatewaySettings, {"REQUEST_RATE": text})
