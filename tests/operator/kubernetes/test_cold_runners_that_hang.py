"""A cold runner whose bot's import never ends: it must not stand for one that comes, nor take its place for hours."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from kubernetes.aio.config import kube_config

from services.operator.kubernetes import jobs as jobs_module
from services.operator.kubernetes.cluster import connect
from services.operator.kubernetes.cluster_view import ClusterView
from services.operator.kubernetes.jobs import Jobs
from services.operator.settings import OperatorSettings
from shared.presence import announce
from tests.operator.kubernetes.ground import ACCOUNT, Ground
from tests.presences import a_presence
from tests.waiting import until


@pytest.fixture
async def jobs(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Jobs]:
    """An operator's Jobs, which do not get their Pods up: what runners say is played here."""
    ground.cluster.trouble("slow", pods=9, seconds=600)
    path = ground.cluster.kubeconfig(ground.folder / "kubeconfig", service_account=ACCOUNT)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    async with connect() as cluster:
        view = ClusterView(cluster, "runner")
        made = Jobs(ground.redis, cluster, view, OperatorSettings(cold_max=4))
        tasks = [asyncio.create_task(part.run()) for part in (view, made)]
        await until(lambda: view.complete)
        yield made
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_cold_runner_that_starts_for_ever_makes_room_for_one_that_comes(
    ground: Ground, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a bad deploy were counted as coming for hours after it was undone, and no launch got a cold runner."""
    first = await ground.offer()
    name = (await jobs.start(first.session_id, 1, lambda: None)).name
    told = a_presence(f"{name}-abcde-1-0", host=f"{name}-abcde", start="cold", state="starting", free=0)
    await announce(ground.redis, told)
    await jobs.look()
    assert (jobs.coming(), jobs.room()) == (1, 0)
    monkeypatch.setattr(jobs_module, "START_WITHIN_S", 0.0)
    await jobs.look()
    assert (jobs.coming(), jobs.room()) == (0, 1)
    await ground.cluster.until(lambda: not ground.cluster.jobs())
