"""Jobs and their Pods, as https://kubernetes.io/docs/concepts/workloads/controllers/job/ tells them."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client, config

from tests.fakes.kubernetes_api.cluster import Cluster


def job(name: str = "cold", **spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "runner", "image": "runner:1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}, **spec},
    }


@pytest.fixture
async def api(kubernetes_api: Cluster, tmp_path: Path) -> AsyncIterator[client.ApiClient]:
    path = kubernetes_api.kubeconfig(tmp_path / "kubeconfig")
    configuration = client.Configuration()
    await config.load_kube_config(config_file=str(path), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        yield api


async def test_a_job_runs_a_process_whose_host_name_is_its_pods(kubernetes_api: Cluster, api: Any) -> None:
    program = "import os, socket; print('in', socket.gethostname(), os.getpid(), os.environ.get('REDIS_URL'))"
    kubernetes_api.run_image("runner:1", [sys.executable, "-c", program])
    batch = client.BatchV1Api(api)
    made = await batch.create_namespaced_job("pipefleet", job())
    await kubernetes_api.until(
        lambda: any(c["type"] == "Complete" for c in kubernetes_api.jobs()[0]["status"].get("conditions", []))
    )
    [pod] = kubernetes_api.pods()
    name = pod["metadata"]["name"]
    assert kubernetes_api.output(name).startswith(f"in {name} 1 unix:")
    await batch.delete_namespaced_job("cold", "pipefleet", propagation_policy="Background")
    await kubernetes_api.until(lambda: not kubernetes_api.pods())
