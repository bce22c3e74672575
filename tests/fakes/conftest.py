"""A cluster for each test that wants one."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.kubernetes_api.cluster import Cluster, running_cluster
from tests.processes import Children


@pytest.fixture
async def kubernetes_api(children: Children) -> AsyncIterator[Cluster]:
    """A running stand-in for a cluster; its Pods get the variables that `children` gives, such as REDIS_URL."""
    async with running_cluster(children) as cluster:
        yield cluster
