"""Manifests that tests begin with."""

from typing import Any

from tests.fakes.kubernetes_api.statuses import Object

IMAGE = "runner:1"
STAY = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.02; done"]
"""A command that stays until it is told to stop."""
STUBBORN = ["sh", "-c", "trap '' TERM; while :; do sleep 0.02; done"]


def container(**fields: Any) -> Object:
    return {"name": "runner", "image": IMAGE, **fields}


def job(name: str = "cold", pod: Object | None = None, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    """A Job of one Pod that is tried once and may take a second to stop."""
    own = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container()]}
    template = {"spec": {**own, **(pod or {})}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, **({"labels": labels} if labels else {})},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def deployment(name: str = "runner", replicas: int = 1, **fields: Any) -> Object:
    """A Deployment whose Pods may take a second to stop."""
    labels = {"app": name}
    pod = {"containers": [container(**fields)], "terminationGracePeriodSeconds": 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def access(account: str, rules: list[Object]) -> list[Object]:
    """A service account with a Role of its own."""
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": account, "namespace": "pipefleet"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": account}, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": account},
            "subjects": [subject],
            "roleRef": {"apiGroup": group, "kind": "Role", "name": account},
        },
    ]
