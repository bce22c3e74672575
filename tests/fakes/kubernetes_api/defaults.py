"""What the server adds to an object that is created: the defaults that somebody who reads it back sees.

From the API reference. By these a Deployment's template, read back, says `restartPolicy: Always`, which no Job may.
"""

import copy

from tests.fakes.kubernetes_api.resources import DEPLOYMENTS, JOBS, PODS, Resource
from tests.fakes.kubernetes_api.statuses import Object

_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def with_defaults(resource: Resource, item: Object) -> Object:
    """The object as it is stored; an empty uid is filled in by whoever stores it."""
    item = copy.deepcopy(item)
    spec = item.setdefault("spec", {}) if resource in {JOBS, PODS, DEPLOYMENTS} else {}
    if resource is PODS:
        _pod_spec(spec)
    elif resource is JOBS:
        for name, value in _JOB.items():
            spec.setdefault(name, copy.deepcopy(value))
        if spec["completions"] is None:
            del spec["completions"]
        _pod_spec(spec["template"]["spec"])
    elif resource is DEPLOYMENTS:
        for name, value in _DEPLOYMENT.items():
            spec.setdefault(name, copy.deepcopy(value))
        _pod_spec(spec["template"]["spec"])
    return item


_JOB = {
    "parallelism": 1,
    "completions": 1,
    "backoffLimit": 6,
    "completionMode": "NonIndexed",
    "suspend": False,
    "podReplacementPolicy": "TerminatingOrFailed",
}
_DEPLOYMENT = {
    "replicas": 1,
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
    "revisionHistoryLimit": 10,
    "progressDeadlineSeconds": 600,
}
_POD_SPEC = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}


def _pod_spec(spec: Object) -> None:
    for name, value in _POD_SPEC.items():
        spec.setdefault(name, copy.deepcopy(value))
    if account := spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", account)
    for container in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        _container(container)


def _container(container: Object) -> None:
    image = container.get("image", "")
    latest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("resources", {})
    for port in container.get("ports", []):
        port.setdefault("protocol", "TCP")
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        if kind in container:
            for name, value in _PROBE.items():
                container[kind].setdefault(name, value)
            if "httpGet" in container[kind]:
                container[kind]["httpGet"].setdefault("path", "/")
                container[kind]["httpGet"].setdefault("scheme", "HTTP")
    for entry in container.get("env", []):
        if field := entry.get("valueFrom", {}).get("fieldRef"):
            field.setdefault("apiVersion", "v1")
