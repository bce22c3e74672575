"""The ground for what operators do in a cluster."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.redis.connection import Redis
from tests.fakes.kubernetes_api.cluster import running_cluster
from tests.operator.kubernetes.ground import Ground
from tests.processes import Children


@pytest.fixture
async def ground(children: Children, redis: Redis, tmp_path: Path) -> AsyncIterator[Ground]:
    """A cluster with the runner Deployment, without Pods; operators are started by the test."""
    async with running_cluster(children) as cluster:
        made = Ground(cluster, children, redis, tmp_path)
        made.prepare()
        yield made
        await made.stop_operators()
