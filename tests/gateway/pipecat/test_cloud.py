"""Sessions as Pipecat Cloud's own clients list and stop them."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest

from shared.contract import Candidates, Offer, Outcome, Reason
from tests.gateway.conftest import Gateway, StartGateway
from tests.gateway.stand_in_runner import StandInRunner

SESSIONS = "/v1/agents/my-agent/sessions"


async def listed(gateway: Gateway, **query: Any) -> tuple[int, list[dict[str, Any]]]:
    answer = await gateway.http.get(SESSIONS, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["total_count"], answer.json()["sessions"]


async def three(gateway: Gateway, runner: StandInRunner) -> tuple[str, str, str]:
    """One that has failed, one that has ended, and one that waits."""
    failed, ended, waiting = [(await gateway.join())["session_id"] for _ in range(3)]
    await runner.fail(await runner.running(), Reason.BOT_ERROR, "no")
    await runner.end(await runner.running(), Reason.COMPLETED)
    return failed, ended, waiting


@pytest.mark.parametrize(
    ("status", "places"), [("active", [2]), ("ended", [1, 0]), ("all", [2, 1, 0]), (None, [2, 1, 0])]
)
async def test_live_sessions_come_first_and_then_those_that_are_over_last_end_first(
    gateway: Gateway, runner: StandInRunner, status: str | None, places: list[int]
) -> None:
    ids = await three(gateway, runner)
    count, found = await listed(gateway, **({"status": status} if status else {}))
    assert count == len(places)
    assert [one["sessionId"] for one in found] == [ids[place] for place in places]


async def test_a_session_is_shown_with_what_has_happened_to_it_and_nothing_else(
    gateway: Gateway, runner: StandInRunner
) -> None:
    _, ended, waiting = await three(gateway, runner)
    _, (live, over, _) = await listed(gateway)
    assert set(live) == {"sessionId", "createdAt"}
    assert live["sessionId"] == waiting
    assert (over["sessionId"], over["coldStart"], over["completionStatus"]) == (ended, False, "completed")
    assert over["createdAt"] < over["endedAt"]
    assert 0 <= over["botStartSeconds"] < 60


async def test_a_page_is_a_part_of_the_list_and_the_count_is_of_all(gateway: Gateway, runner: StandInRunner) -> None:
    failed, ended, _ = await three(gateway, runner)
    assert [one["sessionId"] for one in (await listed(gateway, limit=1, offset=1))[1]] == [ended]
    assert [one["sessionId"] for one in (await listed(gateway, limit=5, offset=2))[1]] == [failed]
    assert await listed(gateway, offset=3) == (3, [])


async def test_ends_are_found_beyond_one_page_of_the_feed(
    gateway: Gateway, runner: StandInRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.pipecat.cloud.PAGE", 2)
    await three(gateway, runner)
    assert (await listed(gateway, status="ended"))[0] == 2


@pytest.mark.parametrize("query", [{"limit": 0}, {"offset": -1}, {"status": "some"}])
async def test_a_wrong_question_is_said_clearly(gateway: Gateway, query: dict[str, Any]) -> None:
    answer = await gateway.http.get(SESSIONS, params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_QUERY")


async def test_a_session_is_stopped_in_pipecat_clouds_words(gateway: Gateway, runner: StandInRunner) -> None:
    session_id = (await gateway.join())["session_id"]
    answer = await gateway.http.delete(f"{SESSIONS}/{session_id}")
    assert (answer.status_code, answer.json()) == (200, {"status": "terminated", "session_id": session_id})
    assert (await gateway.session(session_id))["reason"] == "left"
    assert (await gateway.http.delete(f"{SESSIONS}/{session_id}")).status_code == 404


async def test_a_client_makes_its_offer_where_pipecat_clouds_address_leads_it(
    gateway: Gateway, runner: StandInRunner
) -> None:
    """The client puts `/sessions/{id}/api/offer` in the place of `/start`."""
    session_id = (await gateway.http.post("/v1/public/my-agent/start", json={})).json()["sessionId"]
    claim = await runner.running()
    address = f"/v1/public/my-agent/sessions/{session_id}/api/offer"
    result = {"sdp": "v=0", "type": "answer", "pc_id": "pc1"}

    async def answered(request: Coroutine[Any, Any, httpx.Response]) -> tuple[type[object], int]:
        asking = asyncio.create_task(request)
        entry, command = await runner.command(claim)
        await runner.reply(claim, entry, command, Outcome.DELIVERED, result=result)
        return type(command), (await asking).status_code

    offer, candidates = {"sdp": "v=0", "type": "offer"}, {"pc_id": "pc1", "candidates": []}
    assert await answered(gateway.http.post(address, json=offer)) == (Offer, 200)
    assert await answered(gateway.http.patch(address, json=candidates)) == (Candidates, 200)


async def test_a_public_key_starts_and_connects_but_lists_and_stops_nothing(gateway_with: StartGateway) -> None:
    public, private = {"Authorization": "Bearer public"}, {"Authorization": "Bearer private"}
    async with gateway_with(join_keys=("public",), admin_keys=("private",)) as gateway:
        started = await gateway.http.post("/v1/public/a/start", json={}, headers=public)
        session_id = started.json()["sessionId"]
        for headers, statuses in ((public, (403, 403)), (private, (200, 200))):
            listing = await gateway.http.get(SESSIONS, headers=headers)
            stop = await gateway.http.delete(f"{SESSIONS}/{session_id}", headers=headers)
            assert (listing.status_code, stop.status_code) == statuses
