"""The fleet's picture among the events, for those who ask for it."""

from shared.presence import announce
from shared.redis.connection import Redis
from tests.gateway.conftest import Gateway
from tests.gateway.fleet.test_routes import a_runner
from tests.gateway.sse_client import listening
from tests.gateway.stand_in_runner import StandInRunner
from tests.gateway.test_process import started
from tests.processes import Children


async def test_who_asks_for_it_is_shown_the_fleet_at_first_and_when_it_changes_and_keeps_its_place(
    children: Children, redis: Redis, runner: StandInRunner
) -> None:
    await announce(redis, a_runner("a", slots=2, busy=0, free=2, running=0))
    async with started(children) as (_, http), listening(http, "/events", types="running,fleet") as events:
        first = await events.next()
        assert first.type == "fleet"
        assert first.data == {"type": "fleet", **(await http.get("/fleet")).json()}
        place = events.last_id
        await announce(redis, a_runner("a", slots=2, busy=1, free=1, running=1))
        changed = await events.next()
        assert (changed.data["busy"], changed.data["running"], changed.id) == (1, 1, place)
        await announce(redis, a_runner("a", slots=2, busy=0, free=0, running=0, state="gone"))
        assert (await events.next()).data["runners"] == []
        async with listening(http, "/events", types="fleet") as late:
            assert (await late.next()).data["runners"] == []
        await http.post("/join", json={"transport": "none"})
        await runner.running()
        assert (await events.until("running"))[-1].id > place


async def test_one_sessions_events_have_no_fleet(gateway: Gateway) -> None:
    answer = await gateway.http.get("/sessions/x/events?types=fleet")
    assert answer.status_code == 400
    assert "there is no 'fleet'" in answer.json()["error"]
