"""`GET /metrics` of a gateway."""

from collections.abc import Mapping

from tests.gateway.conftest import Gateway, StartGateway, running_gateway
from tests.redis_server import RedisServer
from tests.scraping import Scraped, read


async def told(gateway: Gateway, headers: Mapping[str, str] | None = None) -> Scraped:
    answer = await gateway.http.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return read(answer.text)


async def test_each_join_is_counted_once_by_what_came_of_it(own_server: RedisServer) -> None:
    async with running_gateway(own_server.url, queue_limit=1, bots="sales=sales.py", bot="it.py") as gateway:
        before = await told(gateway)
        room = {"transport": "none", "room_url": "https://test.daily.co/a", "agent": "sales"}
        asked = [("/join", room), ("/join", room), ("/join", {"transport": "none", "agent": "sales"}),
                 ("/start?agent=sales", {"transport": "webrtc"}),
                 ("/join", {"transport": "none", "agent": "nobody"})]  # fmt: skip
        statuses = [(await gateway.http.post(path, json=body)).status_code for path, body in asked]
        assert statuses == [202, 200, 429, 429, 400]
        own_server.kill()
        assert (await gateway.http.post("/join", json=room)).status_code == 503
        after = await told(gateway)
    outcomes = {"queued": 1, "reused": 1, "refused": 2, "leaving": 0, "unavailable": 1}
    counted = {
        outcome: after.total("pipefleet_joins_total", agent="sales", outcome=outcome)
        - before.total("pipefleet_joins_total", agent="sales", outcome=outcome)
        for outcome in outcomes
    }
    assert counted == outcomes
    assert "nobody" not in {sample.labels["agent"] for sample in after.named("pipefleet_joins_total")}
    assert after.total("pipefleet_redis_errors_total", component="gateway") > 0


async def test_whoever_asks_for_pages_that_are_not_there_makes_no_new_series(gateway: Gateway) -> None:
    await gateway.http.get("/nowhere")
    before = await told(gateway)
    for number in range(20):
        await gateway.http.get(f"/nowhere/{number}")
        await gateway.http.get(f"/sessions/{number}")
    after = await told(gateway)
    paths = {sample.labels["route"] for sample in after.named("pipefleet_http_requests_total")}
    assert not {path for path in paths if any(character.isdigit() for character in path)}
    lost = after.total("pipefleet_http_requests_total", status="404")
    assert lost - before.total("pipefleet_http_requests_total", status="404") == 40


async def test_metrics_want_an_admin_key(gateway_with: StartGateway) -> None:
    async with gateway_with(join_keys=("join",), admin_keys=("admin",)) as gateway:
        assert (await gateway.http.get("/metrics")).status_code == 401
        assert (await gateway.http.get("/metrics", headers={"Authorization": "Bearer join"})).status_code == 403
        assert (await told(gateway, {"Authorization": "Bearer admin"})).named("pipefleet_sse_clients")
