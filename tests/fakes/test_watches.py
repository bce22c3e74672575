"""Watches, with the client's own `Watch`: …/api-concepts/#efficient-detection-of-changes."""

import asyncio
from typing import Any

import aiohttp
import pytest
from kubernetes.aio import watch as kubernetes_watch
from kubernetes.aio.client.exceptions import ApiException

from tests.fakes.kubernetes_api.cluster import Cluster
from tests.fakes.kubernetes_api.resources import JOBS
from tests.fakes.manifests import job

NAMESPACE = "pipefleet"
Watch: Any = kubernetes_watch.Watch
"""Untyped in its package."""


def suspended(name: str, **labels: str) -> Any:
    """A Job that makes no Pods."""
    return job(name, labels=labels or {"a": "b"}, suspend=True)


async def until_watched(cluster: Cluster, times: int = 1) -> None:
    """Returns when so many watches have begun."""
    async with asyncio.timeout(10):
        while sum(line.verb == "watch" for line in cluster.requests) < times or not cluster.server.watching:
            await asyncio.sleep(0.005)


def seen(event: Any) -> tuple[str, str]:
    return event["type"], event["raw_object"]["metadata"].get("name", "")


async def taken(watch: Any, number: int) -> list[tuple[str, str]]:
    async with asyncio.timeout(10):
        return [seen(await anext(watch)) for _ in range(number)]


async def test_a_watch_from_a_list_tells_what_changed_since(kubernetes_api: Cluster, batch: Any) -> None:
    kubernetes_api.apply(suspended("one"))
    version = (await batch.list_namespaced_job(NAMESPACE)).metadata.resource_version
    kubernetes_api.apply(suspended("two"), suspended("one", kind="new"))
    kubernetes_api.delete(JOBS, "two")
    events = []
    async with Watch().stream(batch.list_namespaced_job, NAMESPACE, resource_version=version) as watch:
        while ("DELETED", "two") not in events:
            events += await taken(watch, 1)
    assert [event for event in events if event[1] == "two"] == [("ADDED", "two"), ("DELETED", "two")]
    assert ("MODIFIED", "one") in events


async def test_a_watch_without_a_version_begins_with_what_is_there(kubernetes_api: Cluster, batch: Any) -> None:
    kubernetes_api.apply(suspended("one"), suspended("two"))
    async with Watch().stream(batch.list_namespaced_job, NAMESPACE) as watch:
        assert await taken(watch, 2) == [("ADDED", "one"), ("ADDED", "two")]


async def test_what_comes_to_match_a_selector_is_added_and_what_ceases_to_is_deleted(
    kubernetes_api: Cluster, batch: Any
) -> None:
    version = (await batch.list_namespaced_job(NAMESPACE)).metadata.resource_version
    for kind in ("warm", "cold", "warm"):
        kubernetes_api.apply(suspended("one", kind=kind))
    stream = Watch().stream(batch.list_namespaced_job, NAMESPACE, label_selector="kind=cold", resource_version=version)
    async with stream as watch:
        assert await taken(watch, 1) == [("ADDED", "one")]
        while (event := (await taken(watch, 1))[0]) != ("DELETED", "one"):
            assert event == ("MODIFIED", "one")


async def test_a_bookmark_moves_the_version_that_a_watch_goes_on_from(kubernetes_api: Cluster, batch: Any) -> None:
    """…/api-concepts/#watch-bookmarks."""
    stream = Watch().stream(
        batch.list_namespaced_job, NAMESPACE, label_selector="never=so", allow_watch_bookmarks=True, timeout_seconds=30
    )
    async with stream as watch:
        coming = asyncio.ensure_future(anext(watch))
        await until_watched(kubernetes_api)
        kubernetes_api.apply(suspended("one"))
        kubernetes_api.bookmark()
        assert (await coming)["type"] == "BOOKMARK"
        assert watch.resource_version == str(kubernetes_api.store.version)


async def test_a_watch_ends_after_its_time(kubernetes_api: Cluster, batch: Any) -> None:
    kubernetes_api.apply(suspended("one"))
    async with Watch().stream(batch.list_namespaced_job, NAMESPACE, timeout_seconds=1) as watch:
        assert ("ADDED", "one") in [seen(event) async for event in watch]


async def test_a_watch_without_an_end_is_made_again_by_the_client_from_where_it_was(
    kubernetes_api: Cluster, batch: Any
) -> None:
    """The server ends the stream in good order; `Watch` without `timeout_seconds` asks again, with the last version."""
    kubernetes_api.apply(suspended("one"))
    async with Watch().stream(batch.list_namespaced_job, NAMESPACE) as watch:
        assert await taken(watch, 1) == [("ADDED", "one")]
        coming = asyncio.ensure_future(taken(watch, 1))
        kubernetes_api.end_watches()
        await until_watched(kubernetes_api, times=2)
        kubernetes_api.apply(suspended("two"))
        while await coming == [("MODIFIED", "one")]:
            coming = asyncio.ensure_future(taken(watch, 1))
        assert coming.result() == [("ADDED", "two")]


@pytest.mark.parametrize("in_a_line", [False, True])
async def test_a_watch_that_is_cut_raises(kubernetes_api: Cluster, batch: Any, in_a_line: bool) -> None:
    async with Watch().stream(batch.list_namespaced_job, NAMESPACE) as watch:
        coming = asyncio.ensure_future(anext(watch))
        await until_watched(kubernetes_api)
        kubernetes_api.cut_watches(in_a_line=in_a_line)
        with pytest.raises(aiohttp.ClientError):
            await coming


async def test_a_watch_from_before_the_compaction_is_told_410_and_the_client_asks_twice(
    kubernetes_api: Cluster, batch: Any
) -> None:
    """`Watch` asks once more, with the same version, and then raises; with `timeout_seconds` it raises at once."""
    version = (await batch.list_namespaced_job(NAMESPACE)).metadata.resource_version
    kubernetes_api.apply(suspended("one"))
    kubernetes_api.compact()
    for limits, watches in (({}, 2), ({"timeout_seconds": 5}, 3)):
        async with Watch().stream(batch.list_namespaced_job, NAMESPACE, resource_version=version, **limits) as watch:
            with pytest.raises(ApiException) as refused:
                await anext(watch)
        assert refused.value.status == 410
        assert "Expired: too old resource version" in refused.value.reason
        assert sum(line.verb == "watch" for line in kubernetes_api.requests) == watches


async def test_410_can_come_in_a_running_watch_and_as_the_status_of_the_answer(
    kubernetes_api: Cluster, batch: Any
) -> None:
    async with Watch().stream(batch.list_namespaced_job, NAMESPACE, timeout_seconds=30) as watch:
        coming = asyncio.ensure_future(anext(watch))
        await until_watched(kubernetes_api)
        kubernetes_api.compact(running=True)
        with pytest.raises(ApiException) as refused:
            await coming
        assert refused.value.status == 410
    kubernetes_api.fail_next(code=410, verb="watch")
    async with Watch().stream(batch.list_namespaced_job, NAMESPACE, timeout_seconds=30) as watch:
        with pytest.raises(ApiException) as refused:
            await anext(watch)
        assert refused.value.status == 410


async def test_a_watch_can_begin_with_the_state_and_a_bookmark_at_its_end(kubernetes_api: Cluster, batch: Any) -> None:
    """…/api-concepts/#streaming-lists."""
    kubernetes_api.apply(suspended("one"))
    stream = Watch().stream(
        batch.list_namespaced_job,
        NAMESPACE,
        send_initial_events=True,
        resource_version_match="NotOlderThan",
        allow_watch_bookmarks=True,
        timeout_seconds=30,
    )
    async with stream as watch:
        assert seen(await anext(watch)) == ("ADDED", "one")
        end = await anext(watch)
        while end["type"] != "BOOKMARK":
            end = await anext(watch)
        assert end["raw_object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
