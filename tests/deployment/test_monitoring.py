"""`k8s/monitoring`: what Prometheus and Grafana are given. That somebody exports what it names is told elsewhere."""

import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deployment.manifests import MINORS, SERVICES, Manifests, copy_of_k8s, rendered
from tests.deployment.test_manifests import admitted
from tests.processes import ROOT
from tests.queries import MONITORING, panels, queries, rules, selected


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """`k8s/` with the component, as the README says to add it."""
    folder: Path = copy_of_k8s(tmp_path_factory.mktemp("monitored")) / "k8s"
    with (folder / "kustomization.yaml").open("a") as kustomization:
        kustomization.write("  - monitoring\n")
    return rendered(folder)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", ())
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(one["key"]) in one["values"] for one in expressions
    )


def test_every_pod_of_a_service_is_asked_once_at_a_port_that_it_has(monitored: Manifests) -> None:
    for service in SERVICES:
        labels = monitored.one("Deployment", service)["spec"]["template"]["metadata"]["labels"]
        (monitor,) = [one["spec"] for one in monitored.of("PodMonitor") if selects(one["spec"]["selector"], labels)]
        (endpoint,) = monitor["podMetricsEndpoints"]
        assert endpoint["port"] in {port["name"] for port in monitored.container(service)["ports"]}
        assert endpoint["path"] == "/metrics"


def test_the_gateway_is_asked_with_the_key_that_it_was_given(monitored: Manifests) -> None:
    (endpoint,) = monitored.one("PodMonitor", "gateway")["spec"]["podMetricsEndpoints"]
    (given,) = [one["valueFrom"] for one in monitored.container("gateway")["env"] if one["name"] == "ADMIN_KEYS"]
    assert endpoint["authorization"] == {"type": "Bearer", "credentials": given["secretKeyRef"]}
    assert monitored.one("Secret", "secrets")["metadata"]["name"] == given["secretKeyRef"]["name"]


def test_prometheus_and_nobody_else_is_let_in_to_operators_and_runners(monitored: Manifests) -> None:
    policy = monitored.one("NetworkPolicy", "metrics-to-monitoring")
    for minor in MINORS:
        kubernetes_validate.validate(policy, minor, strict=True)
    for service in ("operator", "runner"):
        labels = monitored.one("Deployment", service)["spec"]["template"]["metadata"]["labels"]
        assert selects(policy["spec"]["podSelector"], labels)
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"port": "health"}]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    redis = monitored.one("StatefulSet", "redis")["spec"]["template"]["metadata"]["labels"]
    assert not selects(policy["spec"]["podSelector"], redis)
    assert len(admitted(monitored, redis)) >= 1


def test_the_prometheus_operator_gets_the_same_alerts(monitored: Manifests) -> None:
    plain = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    assert monitored.one("PrometheusRule", "pipefleet")["spec"] == plain


def test_grafana_gets_the_dashboard(monitored: Manifests) -> None:
    config = monitored.one("ConfigMap", "dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config["data"]["pipefleet.json"]) == json.loads((MONITORING / "dashboard.json").read_text())


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_is_the_case_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
    assert f"\n### {rule['alert']}\n\n*" in (ROOT / "docs/runbook.md").read_text()


def test_no_two_alerts_have_one_name() -> None:
    assert set(Counter(rule["alert"] for rule in rules()).values()) == {1}


@pytest.mark.parametrize("where", queries())
def test_a_query_is_one_that_prometheus_understands(where: str) -> None:
    assert selected(queries()[where])


@pytest.mark.parametrize("query", ["sum by (agent) (rate(up[5m])", "rate(up)", "up =! 1", "topk(up)"])
def test_what_is_no_query_is_seen(query: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        selected(query)


def test_no_two_panels_lie_on_each_other_or_have_one_number() -> None:
    assert set(Counter(panel["id"] for panel in panels()).values()) == {1}
    for one, other in combinations([panel["gridPos"] for panel in panels()], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
