"""The way to the Kubernetes API."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.config import kube_config

from services.operator.kubernetes.cluster import connect
from tests.fakes.kubernetes_api.cluster import running_cluster
from tests.processes import Children


async def test_the_authority_of_an_older_cluster_is_good_enough_and_certificates_are_verified(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of Python 3.13 a default context is strict, and an authority that names no use of its key is refused."""
    default = ssl.create_default_context

    def strict(*args: Any, **more: Any) -> ssl.SSLContext:
        context = default(*args, **more)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    async with running_cluster(children) as cluster:
        path = cluster.kubeconfig(tmp_path / "kubeconfig")
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))
        async with connect() as connected:
            context = connected._client.rest_client.ssl_context
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
