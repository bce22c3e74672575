"""A cluster for each test that wants one, and the real client of it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from kubernetes.aio import client
from kubernetes.aio.config import kube_config

from tests.fakes.kubernetes_api.cluster import Cluster, running_cluster
from tests.processes import Children


class Connect(Protocol):
    """Makes a client of the cluster, for an administrator or a service account."""

    def __call__(self, service_account: str = "") -> AbstractAsyncContextManager[client.ApiClient]: ...


@pytest.fixture
async def kubernetes_api(children: Children) -> AsyncIterator[Cluster]:
    """A running stand-in for a cluster; its Pods get the variables that `children` gives, such as REDIS_URL."""
    async with running_cluster(children) as cluster:
        yield cluster


@pytest.fixture
def connect(kubernetes_api: Cluster, tmp_path: Path) -> Connect:
    @asynccontextmanager
    async def connect(service_account: str = "") -> AsyncIterator[client.ApiClient]:
        path = kubernetes_api.kubeconfig(tmp_path / "kubeconfig", service_account)
        configuration: Any = client.Configuration()
        load: Any = kube_config.load_kube_config
        await load(config_file=str(path), client_configuration=configuration)
        async with client.ApiClient(configuration) as api:
            yield api

    return connect


@pytest.fixture
async def api(connect: Connect) -> AsyncIterator[client.ApiClient]:
    """An administrator's client."""
    async with connect() as api:
        yield api


@pytest.fixture
def batch(api: client.ApiClient) -> Any:
    """Untyped, as it takes plain manifests too."""
    return client.BatchV1Api(api)


@pytest.fixture
def core(api: client.ApiClient) -> Any:
    return client.CoreV1Api(api)


@pytest.fixture
def apps(api: client.ApiClient) -> Any:
    return client.AppsV1Api(api)
