"""Deployments: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/."""

from typing import Any

import pytest
from kubernetes.aio.client.exceptions import ApiException

from tests.fakes.kubernetes_api.cluster import Cluster
from tests.fakes.kubernetes_api.deployment_controller import COST
from tests.fakes.kubernetes_api.resources import DEPLOYMENTS
from tests.fakes.manifests import IMAGE, STAY, deployment

NAMESPACE = "pipefleet"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


async def until_ready(cluster: Cluster, number: int) -> None:
    def ready() -> bool:
        status = cluster.deployment("runner")["status"]
        return (status.get("readyReplicas", 0), status.get("replicas", 0)) == (number, number)

    await cluster.until(ready)


@pytest.fixture
async def two(kubernetes_api: Cluster) -> Cluster:
    """A cluster with a Deployment of two Pods that run."""
    kubernetes_api.run_image(IMAGE, STAY)
    kubernetes_api.apply(deployment(replicas=2))
    await until_ready(kubernetes_api, 2)
    return kubernetes_api


async def test_a_deployment_keeps_as_many_pods_as_it_wants(two: Cluster, core: Any) -> None:
    gone = two.pods()[0]["metadata"]["name"]
    await core.delete_namespaced_pod(gone, NAMESPACE)
    await two.until(lambda: gone not in [pod["metadata"]["name"] for pod in two.pods()] and len(two.pods()) == 2)
    await until_ready(two, 2)
    status = two.deployment("runner")["status"]
    assert status["observedGeneration"] == two.deployment("runner")["metadata"]["generation"]


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
async def test_scaling_down_ends_the_pod_that_costs_least(
    two: Cluster, core: Any, apps: Any, content_type: str
) -> None:
    """…/replicaset/#pod-deletion-cost."""
    kept, cheap = [pod["metadata"]["name"] for pod in two.pods()]
    for name, cost in ((kept, "10"), (cheap, "-10")):
        await core.patch_namespaced_pod(name, NAMESPACE, {"metadata": {"annotations": {COST: cost}}})
    scale = await apps.read_namespaced_deployment_scale("runner", NAMESPACE)
    assert (scale.spec.replicas, scale.status.selector) == (2, "app=runner")
    patch = {"metadata": {"resourceVersion": scale.metadata.resource_version}, "spec": {"replicas": 1}}
    await apps.patch_namespaced_deployment_scale("runner", NAMESPACE, patch, _content_type=content_type)
    await two.until(lambda: [pod["metadata"]["name"] for pod in two.pods()] == [kept])
    await until_ready(two, 1)
    assert "to 1" in two.events("ScalingReplicaSet")[-1]["message"] + two.events("ScalingReplicaSet")[0]["message"]


async def test_a_scale_that_was_decided_from_an_old_version_is_refused(two: Cluster, apps: Any) -> None:
    scale = await apps.read_namespaced_deployment_scale("runner", NAMESPACE)
    two.scale("runner", 3)
    patch = {"metadata": {"resourceVersion": scale.metadata.resource_version}, "spec": {"replicas": 1}}
    with pytest.raises(ApiException) as refused:
        await apps.patch_namespaced_deployment_scale("runner", NAMESPACE, patch)
    assert refused.value.status == 409
    scale.spec.replicas = 0
    with pytest.raises(ApiException) as refused:
        await apps.replace_namespaced_deployment_scale("runner", NAMESPACE, scale)
    assert refused.value.status == 409
    assert two.deployment("runner")["spec"]["replicas"] == 3


async def test_a_json_patch_tests_before_it_replaces(two: Cluster, apps: Any) -> None:
    def replicas(was: int, becomes: int) -> list[dict[str, Any]]:
        path = "/spec/replicas"
        return [{"op": "test", "path": path, "value": was}, {"op": "replace", "path": path, "value": becomes}]

    with pytest.raises(ApiException) as refused:
        await apps.patch_namespaced_deployment("runner", NAMESPACE, replicas(5, 0))
    assert refused.value.status == 422
    await apps.patch_namespaced_deployment("runner", NAMESPACE, replicas(2, 0))
    await two.until(lambda: not two.pods())


async def test_a_strategic_patch_merges_containers_by_name_and_rolls_them_out(two: Cluster, apps: Any) -> None:
    before = {pod["metadata"]["name"] for pod in two.pods()}
    env = {"containers": [{"name": "runner", "env": [{"name": "BOT", "value": "other"}]}]}
    answer = await apps.patch_namespaced_deployment("runner", NAMESPACE, {"spec": {"template": {"spec": env}}})
    assert (answer.spec.template.spec.containers[0].image, answer.spec.template.spec.restart_policy) == (
        IMAGE,
        "Always",
    )
    await two.until(lambda: len(two.pods()) == 2 and not before & {pod["metadata"]["name"] for pod in two.pods()})


async def test_a_deleted_deployment_takes_its_pods_along(two: Cluster) -> None:
    two.delete(DEPLOYMENTS, "runner")
    await two.until(lambda: not two.pods())


async def test_a_deployment_without_quota_says_so_and_goes_on_when_there_is_some(kubernetes_api: Cluster) -> None:
    kubernetes_api.run_image(IMAGE, STAY)
    kubernetes_api.quota(pods=1)
    kubernetes_api.apply(deployment(replicas=2))
    await kubernetes_api.until(lambda: kubernetes_api.events("FailedCreate"))
    assert len(kubernetes_api.pods()) == 1
    kubernetes_api.quota()
    await until_ready(kubernetes_api, 2)


async def test_a_selector_that_does_not_match_its_template_is_refused(apps: Any) -> None:
    wrong = deployment()
    wrong["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    with pytest.raises(ApiException) as refused:
        await apps.create_namespaced_deployment(NAMESPACE, wrong)
    assert refused.value.status == 422
    assert "`selector` does not match template `labels`" in str(refused.value.body)
