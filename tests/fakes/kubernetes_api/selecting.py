"""Label and field selectors.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors and
https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/#list-of-supported-fields.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from tests.fakes.kubernetes_api.resources import EVENTS, JOBS, PODS, Resource
from tests.fakes.kubernetes_api.statuses import ApiError, Object

Selector: TypeAlias = Callable[[Object], bool]

_METADATA = ("metadata.name", "metadata.namespace")
_FIELDS = {
    PODS: (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    JOBS: ("status.successful",),
    EVENTS: (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
        "reportingComponent", "source", "type",
    ),
}  # fmt: skip
_SET = re.compile(r"^(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s=!]+)\s*(?P<op>==|=|!=)\s*(?P<value>\S*)$")
_KEY = r"([a-z0-9A-Z.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"


def by_labels(text: str) -> Selector:
    """What `labelSelector=` selects; equality and set based."""
    parts = [_label_requirement(part.strip()) for part in re.split(r",(?![^()]*\))", text) if part.strip()]
    return lambda item: all(part(item["metadata"].get("labels") or {}) for part in parts)


def _label_requirement(text: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(text):
        key, wanted = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["op"] == "in":
            return lambda labels: key in labels and labels[key] in wanted
        return lambda labels: labels.get(key) not in wanted
    if found := _EQUAL.match(text):
        key, value, same = found["key"], found["value"], found["op"] != "!="
        return lambda labels: (labels.get(key) == value) is same
    if re.fullmatch(f"!?{_KEY}", text):
        key, present = text.removeprefix("!"), not text.startswith("!")
        return lambda labels: (key in labels) is present
    raise ApiError(400, f"unable to parse requirement: found '{text}', expected: in, notin, =, ==, !=")


def by_fields(resource: Resource, text: str) -> Selector:
    """What `fieldSelector=` selects; a field that this kind has no index for is refused."""
    wanted = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = _EQUAL.match(part)
        if not found:
            raise ApiError(400, f"invalid selector: '{text}'; can't understand '{part}'")
        if found["key"] not in (*_METADATA, *_FIELDS.get(resource, ())):
            raise ApiError(
                400,
                f'Unable to find "{resource.api_version}, Resource={resource.plural}" that match label selector "", '
                f'field selector "{text}": field label not supported: {found["key"]}',
            )
        wanted.append((found["key"], found["op"] != "!=", found["value"]))
    return lambda item: all((_field(resource, item, key) == value) is same for key, same, value in wanted)


def _field(resource: Resource, item: Object, path: str) -> str:
    if resource is JOBS and path == "status.successful":
        return str(item.get("status", {}).get("succeeded", 0))
    if resource is EVENTS and path == "source":
        return str(item.get("source", {}).get("component", ""))
    found: object = item
    for part in path.split("."):
        found = found.get(part, "") if isinstance(found, dict) else ""
    return str(found).lower() if isinstance(found, bool) else str(found)


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a selector as a spec has it, `matchLabels` and `matchExpressions`, selects these labels."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], expression.get("values") or []
        holds = {
            "In": key in labels and labels[key] in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not holds[expression["operator"]]:
            return False
    return True


def name_selected(text: str) -> str:
    """The one name that a field selector picks, if it does; the authorizer lets `resourceNames` apply to it."""
    found = re.fullmatch(r"metadata\.name={1,2}([^,\s]+)", text.strip())
    return found[1] if found else ""
