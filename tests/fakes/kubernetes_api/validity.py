"""What the schema cannot say: the checks that make the server answer 422.

Names and labels: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and …/labels/. Jobs:
https://kubernetes.io/docs/concepts/workloads/controllers/job/#writing-a-job-spec, Deployments: …/deployment/.
"""

import re
from collections.abc import Iterator
from typing import TypeAlias

from tests.fakes.kubernetes_api.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, SECRETS, SERVICES, Resource
from tests.fakes.kubernetes_api.selecting import matches
from tests.fakes.kubernetes_api.statuses import ApiError, Object, invalid

Cause: TypeAlias = tuple[str, str, str]

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(rf"{_DNS_LABEL.pattern}(\.{_DNS_LABEL.pattern})*")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_QUALIFIED = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_ENV_NAME = re.compile(r"[^=\0]+")
_NOT_MODELLED = {
    JOBS: ("podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes", "managedBy"),
    PODS: ("initContainers", "ephemeralContainers", "schedulingGates"),
}


def check(resource: Resource, item: Object, before: Object | None = None) -> None:
    """Refuse what the real server refuses; `before` is the state that an update starts from.

    Raises:
        ApiError: 422 with every cause; 501 for what a real cluster does and this one does not.
    """
    causes = [*_metadata(item["metadata"]), *_spec(resource, item)]
    if before:
        causes += _immutable(resource, before, item)
    if causes:
        raise invalid(resource, item["metadata"].get("name", ""), causes)
    _check_modelled(resource, item)


def _metadata(metadata: Object, path: str = "metadata") -> Iterator[Cause]:
    name = metadata.get("name")
    if name is not None and (len(name) > 253 or not _DNS_SUBDOMAIN.fullmatch(name)):
        yield _bad(
            f"{path}.name",
            name,
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character",
        )
    for key, value in (metadata.get("labels") or {}).items():
        yield from _label(f"{path}.labels", key, value)
    for key in metadata.get("annotations") or {}:
        if not _QUALIFIED.fullmatch(key.lower()):
            yield _bad(f"{path}.annotations", key, "name part must consist of alphanumeric characters, '-', '_' or '.'")


def _label(path: str, key: str, value: str) -> Iterator[Cause]:
    if not _QUALIFIED.fullmatch(key):
        yield _bad(path, key, "name part must consist of alphanumeric characters, '-', '_' or '.'")
    if len(value) > 63:
        yield "FieldValueInvalid", path, f'Invalid value: "{value}": must be no more than 63 bytes'
    elif not _LABEL_VALUE.fullmatch(value):
        yield _bad(
            path,
            value,
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character",
        )


def _spec(resource: Resource, item: Object) -> Iterator[Cause]:
    if resource is JOBS:
        yield from _job(item)
    elif resource is DEPLOYMENTS:
        yield from _deployment(item)
    elif resource is PODS:
        yield from _pod_spec(item["spec"], "spec")
    elif resource in {CONFIG_MAPS, SECRETS}:
        for key in item.get("data") or {}:
            if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", key):
                yield _bad("data", key, "a valid config key must consist of alphanumeric characters, '-', '_' or '.'")
    elif resource is SERVICES and not _DNS_LABEL.fullmatch(item["metadata"].get("name", "")):
        yield _bad("metadata.name", item["metadata"].get("name", ""), "a DNS-1035 label must consist of …")


def _job(item: Object) -> Iterator[Cause]:
    spec = item["spec"]
    for field in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        if spec.get(field, 0) < 0:
            yield _bad(f"spec.{field}", spec[field], "must be greater than or equal to 0")
    template = spec["template"]
    yield from _metadata(template.get("metadata") or {}, "spec.template.metadata")
    yield from _pod_spec(template["spec"], "spec.template.spec")
    policy = template["spec"]["restartPolicy"]
    if policy not in {"Never", "OnFailure"}:
        yield (
            "FieldValueNotSupported" if policy != "Always" else "FieldValueRequired",
            "spec.template.spec.restartPolicy",
            f'Unsupported value: "{policy}": supported values: "OnFailure", "Never"',
        )


def _deployment(item: Object) -> Iterator[Cause]:
    spec = item["spec"]
    if spec["replicas"] < 0:
        yield _bad("spec.replicas", spec["replicas"], "must be greater than or equal to 0")
    template = spec["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    yield from _metadata(template.get("metadata") or {}, "spec.template.metadata")
    if not spec["selector"] or not matches(spec["selector"], labels):
        yield _bad("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _pod_spec(template["spec"], "spec.template.spec")
    if (policy := template["spec"]["restartPolicy"]) != "Always":
        yield (
            "FieldValueNotSupported",
            "spec.template.spec.restartPolicy",
            f'Unsupported value: "{policy}": supported values: "Always"',
        )


def _pod_spec(spec: Object, path: str) -> Iterator[Cause]:
    if not spec.get("containers"):
        yield "FieldValueRequired", f"{path}.containers", "Required value"
    if spec["terminationGracePeriodSeconds"] < 0:
        yield _bad(f"{path}.terminationGracePeriodSeconds", spec["terminationGracePeriodSeconds"], "must be positive")
    volumes = {volume["name"] for volume in spec.get("volumes") or []}
    for number, container in enumerate(spec.get("containers") or []):
        yield from _container(container, f"{path}.containers[{number}]", volumes)


def _container(container: Object, path: str, volumes: set[str]) -> Iterator[Cause]:
    name = container["name"]
    if len(name) > 63 or not _DNS_LABEL.fullmatch(name):
        yield _bad(f"{path}.name", name, "a lowercase RFC 1123 label must consist of lower case alphanumeric …")
    if not container.get("image"):
        yield "FieldValueRequired", f"{path}.image", "Required value"
    for number, entry in enumerate(container.get("env") or []):
        if not _ENV_NAME.fullmatch(entry["name"]):
            yield _bad(f"{path}.env[{number}].name", entry["name"], "a valid environment variable name must …")
        if entry.get("value") and entry.get("valueFrom"):
            yield _bad(f"{path}.env[{number}].valueFrom", "", "may not be specified when `value` is not empty")
    for number, mount in enumerate(container.get("volumeMounts") or []):
        if mount["name"] not in volumes:
            yield "FieldValueNotFound", f"{path}.volumeMounts[{number}].name", f'Not found: "{mount["name"]}"'


def _immutable(resource: Resource, before: Object, item: Object) -> Iterator[Cause]:
    fixed = {
        JOBS: ("completions", "selector", "template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"),
        DEPLOYMENTS: ("selector",),
    }
    for field in fixed.get(resource, ()):
        if before["spec"].get(field) != item["spec"].get(field):
            yield _bad(f"spec.{field}", item["spec"].get(field), "field is immutable")
    if resource is PODS and _unchangeable(before["spec"]) != _unchangeable(item["spec"]):
        yield (
            "FieldValueForbidden",
            "spec",
            "Forbidden: pod updates may not change fields other than image, activeDeadlineSeconds and tolerations",
        )


def _unchangeable(spec: Object) -> Object:
    containers = [{**container, "image": ""} for container in spec["containers"]]
    return {**spec, "containers": containers, "activeDeadlineSeconds": None, "tolerations": None}


def _check_modelled(resource: Resource, item: Object) -> None:
    """A difference that a test would not see is worse than a refusal."""
    template = item.get("spec", {}).get("template", {}).get("spec", {}) if resource in {JOBS, DEPLOYMENTS} else {}
    pod = item["spec"] if resource is PODS else template
    found = [field for field in _NOT_MODELLED.get(resource, ()) if item["spec"].get(field)]
    found += [field for field in _NOT_MODELLED[PODS] if pod.get(field)]
    found += ["a second container"] if len(pod.get("containers", [])) > 1 else []
    if resource is JOBS:
        found += ["completionMode Indexed"] if item["spec"]["completionMode"] != "NonIndexed" else []
        found += ["manualSelector"] if item["spec"].get("manualSelector") else []
    if found:
        raise ApiError(501, f"this stand-in for a cluster has no {', '.join(found)}")


def _bad(field: str, value: object, why: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else value
    return "FieldValueInvalid", field, f"Invalid value: {shown}: {why}"
