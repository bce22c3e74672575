"""The way to the Kubernetes API."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.config import kube_config

from services.operator.kubernetes.cluster import ClusterError, connect
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


CONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me, namespace: pipefleet}}]
clusters: [{name: here, cluster: {server: "http://127.0.0.1:%d"}}]
users: [{name: me, user: {token: t}}]
"""


@asynccontextmanager
async def answering(body: str) -> AsyncIterator[int]:
    """A server that says this to whatever it is asked, with 200; gives its port."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('{"kind":"Status","status":"Failure","reason":"Timeout","code":504}', id="no event"),
        pytest.param('{"type":"ERROR","object":"away"}', id="an error that is no object"),
        pytest.param("[]", id="no object"),
        pytest.param("This request caused apiserver to panic.", id="no JSON"),
    ],
)
async def test_a_line_of_a_watch_that_is_no_event_is_no_answer(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the operator; now the watch is asked for again."""
    async with answering(f"{line}\n") as port:
        (tmp_path / "kubeconfig").write_text(CONFIG % port)
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
        async with connect() as cluster:
            with pytest.raises(ClusterError) as caught:
                async with cluster.watch("pods", {}, 5) as events:
                    await anext(events)
    assert caught.value.reason == "Unreachable"
