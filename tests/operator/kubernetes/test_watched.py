"""The copy of the cluster's objects is right again after everything that can happen to a watch."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.operator.kubernetes import cluster as cluster_module
from services.operator.kubernetes.cluster import Cluster, ClusterError, Json, connect
from services.operator.kubernetes.watched import Watched
from tests.fakes.kubernetes_api.cluster import Cluster as FakeCluster
from tests.fakes.kubernetes_api.cluster import running_cluster
from tests.fakes.kubernetes_api.resources import JOBS
from tests.processes import Children
from tests.waiting import until

CONFIG = "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"


@pytest.fixture
async def fake(children: Children) -> AsyncIterator[FakeCluster]:
    async with running_cluster(children) as cluster:
        yield cluster


@pytest.fixture
async def cluster(fake: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setattr(CONFIG, str(fake.kubeconfig(tmp_path / "kubeconfig")))
    async with connect() as connected:
        yield connected


def a_job(name: str, **labels: str) -> Json:
    container = {"name": "c", "image": "nowhere"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"mine": "yes", **labels}},
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }


class Copy:
    """A watched copy, and what it told."""

    def __init__(self, cluster: Cluster) -> None:
        self.told: list[tuple[str, bool]] = []
        self.watched = Watched(cluster, "jobs", {"labelSelector": "mine=yes"}, self._note)

    def _note(self, item: Json, deleted: bool) -> None:
        self.told.append((item["metadata"]["name"], deleted))

    async def has(self, *names: str) -> None:
        await until(lambda: set(self.watched.objects) == set(names))


@asynccontextmanager
async def copied(cluster: Cluster) -> AsyncIterator[Copy]:
    copy = Copy(cluster)
    task = asyncio.create_task(copy.watched.run())
    try:
        yield copy
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def delete(fake: FakeCluster, name: str) -> None:
    fake.delete(JOBS, name)


async def test_what_is_there_what_comes_what_changes_and_what_goes_is_told(fake: FakeCluster, cluster: Cluster) -> None:
    fake.apply(a_job("one"))
    async with copied(cluster) as copy:
        await copy.has("one")
        fake.apply(a_job("two"), a_job("three", mine="no"))
        await copy.has("one", "two")
        fake.store.change(JOBS, fake.jobs()[0], lambda job: job["metadata"]["labels"].update(more="m"))
        await until(lambda: copy.watched.objects["one"]["metadata"]["labels"].get("more") == "m")
        delete(fake, "two")
        await copy.has("one")
    assert copy.told[0] == ("one", False)
    assert copy.told.count(("two", True)) == 1
    assert not [name for name, _ in copy.told if name == "three"]


Interruption = Callable[[FakeCluster], Any]


@pytest.mark.parametrize(
    "interrupt",
    [
        pytest.param(lambda fake: fake.cut_watches(), id="a lost connection"),
        pytest.param(lambda fake: fake.cut_watches(in_a_line=True), id="a connection lost in the middle of a line"),
        pytest.param(lambda fake: fake.compact(running=True), id="a version that is too old in the middle of a watch"),
    ],
)
async def test_a_watch_that_is_interrupted_misses_nothing(
    fake: FakeCluster, cluster: Cluster, interrupt: Interruption
) -> None:
    fake.apply(a_job("stays"), a_job("goes"))
    async with copied(cluster) as copy:
        await copy.has("stays", "goes")
        interrupt(fake)
        delete(fake, "goes")
        fake.apply(a_job("comes"))
        await copy.has("stays", "comes")
        assert copy.told.count(("goes", True)) == 1
        assert copy.told.count(("comes", False)) >= 1


async def test_after_an_outage_with_a_forgotten_history_what_went_is_told_as_deleted(
    fake: FakeCluster, cluster: Cluster
) -> None:
    fake.apply(a_job("stays"), a_job("goes"), a_job("made-anew"))
    async with copied(cluster) as copy:
        await copy.has("stays", "goes", "made-anew")
        await fake.stop_server()
        for name in ("goes", "made-anew"):
            delete(fake, name)
        fake.apply(a_job("made-anew"))
        fake.compact()
        await fake.start_server()
        await copy.has("stays", "made-anew")
        assert {("goes", True), ("made-anew", True)} <= set(copy.told)
        assert copy.watched.objects["made-anew"]["metadata"]["uid"] == fake.objects(JOBS)[0]["metadata"]["uid"]


async def test_a_list_of_very_many_objects_may_take_longer_than_any_other_answer(
    fake: FakeCluster, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that is given up is asked for again, and takes as long again: such an operator never saw its Pods."""
    monkeypatch.setattr(cluster_module, "ANSWER_S", 0.2)
    fake.apply(a_job("one"))
    fake.delay(0.5, verb="list")
    async with copied(cluster) as copy:
        await copy.has("one")
        assert copy.watched.error is None


async def test_a_watch_goes_on_from_the_version_of_a_bookmark(fake: FakeCluster, cluster: Cluster) -> None:
    async with copied(cluster) as copy:
        await asyncio.wait_for(copy.watched.listed.wait(), 10)
        fake.apply(a_job("another", mine="no"))
        fake.bookmark()
        fake.compact()
        before = len([one for one in fake.requests if one.verb == "list"])
        fake.cut_watches()
        fake.apply(a_job("one"))
        await copy.has("one")
        assert len([one for one in fake.requests if one.verb == "list"]) <= before + 1


async def test_a_refusal_has_the_servers_reason_and_words(fake: FakeCluster, cluster: Cluster) -> None:
    fake.revoke_tokens()
    with pytest.raises(ClusterError) as caught:
        await cluster.list("jobs", {})
    assert (caught.value.status, caught.value.reason, str(caught.value)) == (401, "Unauthorized", "Unauthorized")
    assert caught.value.refused


@pytest.mark.parametrize(
    ("status", "refused"),
    [(0, False), (403, True), (404, True), (422, True), (409, False), (410, False), (429, False), (500, False)],
)
def test_what_is_refused_until_somebody_changes_something(status: int, refused: bool) -> None:
    assert ClusterError(status, "", "").refused is refused
