"""Every Pod keeps to the restricted Pod security standard, and to more."""

import copy
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest

from services.operator.kubernetes.job_manifest import job_manifest
from tests.deployment.manifests import MINORS, Manifests, Object

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SECCOMP = {"RuntimeDefault", "Localhost"}
MAY_ADD = {"NET_BIND_SERVICE"}

Forbidden = Callable[[Object], bool]

POD: dict[str, Forbidden] = {
    "hostNetwork": lambda pod: bool(pod.get("hostNetwork")),
    "hostPID": lambda pod: bool(pod.get("hostPID")),
    "hostIPC": lambda pod: bool(pod.get("hostIPC")),
    "sysctls": lambda pod: bool(pod.get("securityContext", {}).get("sysctls")),
    "volumes": lambda pod: any(not (one.keys() - {"name"}) <= VOLUMES for one in pod.get("volumes", [])),
}
CONTAINER: dict[str, Forbidden] = {
    "hostPort": lambda one: any(port.get("hostPort") for port in one.get("ports", [])),
    "privileged": lambda one: bool(context(one).get("privileged")),
    "procMount": lambda one: context(one).get("procMount", "Default") != "Default",
    "allowPrivilegeEscalation": lambda one: context(one).get("allowPrivilegeEscalation") is not False,
    "runAsNonRoot": lambda one: context(one).get("runAsNonRoot") is not True,
    "runAsUser": lambda one: context(one).get("runAsUser") == 0,
    "seccompProfile": lambda one: context(one).get("seccompProfile", {}).get("type") not in SECCOMP,
    "dropped capabilities": lambda one: "ALL" not in context(one).get("capabilities", {}).get("drop", []),
    "added capabilities": lambda one: not set(context(one).get("capabilities", {}).get("add", [])) <= MAY_ADD,
    "appArmorProfile": lambda one: "Unconfined" in str(context(one).get("appArmorProfile")),
    "seLinuxOptions": lambda one: bool(context(one).get("seLinuxOptions")),
}
"""The published profile `restricted`, with `baseline`, which is part of it."""


def context(container: Object) -> Object:
    found: Object = container["securityContext"]
    return found


def violations(pod: Object) -> list[str]:
    """What the profile has against a Pod's spec. A container's own context goes before the Pod's."""
    found = [name for name, forbidden in POD.items() if forbidden(pod)]
    for one in [*pod.get("initContainers", []), *pod.get("ephemeralContainers", []), *pod["containers"]]:
        effective = {**one, "securityContext": {**pod.get("securityContext", {}), **one.get("securityContext", {})}}
        found += [f"{one['name']}: {name}" for name, forbidden in CONTAINER.items() if forbidden(effective)]
    return found


def test_no_pod_violates_the_restricted_profile(any_rendering: Manifests) -> None:
    assert {name: violations(template["spec"]) for name, template in any_rendering.templates()} == {
        name: [] for name, _ in any_rendering.templates()
    }


@pytest.mark.parametrize("minor", MINORS)
def test_a_cold_job_of_the_runner_deployment_is_a_job_that_the_namespace_admits(
    any_rendering: Manifests, minor: str
) -> None:
    deployment = copy.deepcopy(any_rendering.one("Deployment", "runner"))
    deployment["metadata"]["uid"] = "d1"
    job = job_manifest(deployment, "6f1c", 2, number=1, max_duration_s=3600.0)
    kubernetes_validate.validate(job, minor, strict=True)
    assert violations(job["spec"]["template"]["spec"]) == []


def test_the_namespace_enforces_it(any_rendering: Manifests) -> None:
    (namespace,) = any_rendering.of("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert namespace["metadata"]["name"] == "pipefleet"
    others = [one["metadata"].get("namespace") for one in any_rendering.objects if one is not namespace]
    assert set(others) == {"pipefleet"}


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        (("hostNetwork",), True, "hostNetwork"),
        (("volumes", 0), {"name": "tmp", "hostPath": {"path": "/"}}, "volumes"),
        (("securityContext", "runAsNonRoot"), False, "gateway: runAsNonRoot"),
        (("securityContext", "seccompProfile", "type"), "Unconfined", "gateway: seccompProfile"),
        (("containers", 0, "securityContext", "runAsUser"), 0, "gateway: runAsUser"),
        (("containers", 0, "securityContext", "privileged"), True, "gateway: privileged"),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True, "gateway: allowPrivilegeEscalation"),
        (("containers", 0, "securityContext", "capabilities"), {"drop": ["NET_RAW"]}, "gateway: dropped capabilities"),
        (("containers", 0, "ports", 0, "hostPort"), 80, "gateway: hostPort"),
    ],
)
def test_a_violation_is_seen(fleet: Manifests, place: tuple[str | int, ...], value: Any, complaint: str) -> None:
    pod = copy.deepcopy(fleet.one("Deployment", "gateway")["spec"]["template"]["spec"])
    inner: Any = pod
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    assert violations(pod) == [complaint]


def test_every_container_has_a_read_only_root_requests_and_a_limit_of_memory(any_rendering: Manifests) -> None:
    for _, template in any_rendering.templates():
        for container in template["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_only_the_operator_has_a_token_and_it_may_do_no_more_than_it_does(any_rendering: Manifests) -> None:
    with_token = {
        name
        for name, template in any_rendering.templates()
        if template["spec"]["automountServiceAccountToken"] is not False
    }
    assert with_token == {"operator"}
    (binding,) = any_rendering.of("RoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "operator", "namespace": "pipefleet"}]
    assert not any_rendering.of("ClusterRole")
    (role,) = any_rendering.of("Role")
    allowed = {
        (resource, *rule.get("resourceNames", [])): set(rule["verbs"])
        for rule in role["rules"]
        for resource in rule["resources"]
    }
    assert allowed == {
        ("jobs",): {"list", "watch", "create", "delete"},
        ("pods",): {"list", "watch"},
        ("events",): {"list", "watch"},
        ("deployments", "runner"): {"list", "watch"},
        ("deployments/scale", "runner"): {"patch"},
    }
