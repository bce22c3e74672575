"""What an operator sees of its cluster, whatever the runner Deployment is like."""

import asyncio
from typing import Any

import pytest
from kubernetes.aio.config import kube_config

from services.operator.kubernetes.cluster import connect
from services.operator.kubernetes.cluster_view import ClusterView, selector_text
from tests.operator.kubernetes.ground import Ground, deployment
from tests.waiting import until


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({"matchLabels": {"app": "runner", "tier": "a"}}, "app=runner,tier=a"),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["runner", "bot"]}]}, "app in (runner,bot)"),
        (
            {
                "matchLabels": {"app": "runner"},
                "matchExpressions": [
                    {"key": "tier", "operator": "NotIn", "values": ["a"]},
                    {"key": "ours", "operator": "Exists"},
                    {"key": "theirs", "operator": "DoesNotExist"},
                ],
            },
            "app=runner,tier notin (a),ours,!theirs",
        ),
    ],
)
def test_a_selector_of_a_spec_is_asked_for_as_the_api_has_it(selector: Any, text: str) -> None:
    assert selector_text(selector) == text


async def test_the_pods_of_a_deployment_that_selects_by_expressions_are_seen(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator of one that has no `matchLabels` ended at once, with all that it does besides."""
    ground.cluster.trouble("unschedulable", pods=9)
    made = deployment(replicas=1)
    made["metadata"]["name"] = "other"
    made["spec"]["selector"] = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["other"]}]}
    made["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    ground.cluster.apply(made)
    monkeypatch.setattr(
        kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(ground.cluster.kubeconfig(ground.folder / "kubeconfig"))
    )
    seen: list[str] = []
    async with connect() as cluster:
        view = ClusterView(cluster, "other")
        view.pod_changed.append(lambda pod, _: seen.append(pod["metadata"]["labels"]["app"]))
        running = asyncio.create_task(view.run())
        try:
            await until(lambda: running.done() or (view.complete and seen))
            assert not running.done()
            assert set(seen) == {"other"}
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
