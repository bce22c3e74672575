"""The environment of a container, as the kubelet makes it from the spec.

`env` over `envFrom`, values from ConfigMaps, Secrets and the Pod itself, and `$(NAME)` in values;
https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/ and
https://kubernetes.io/docs/concepts/workloads/pods/downward-api/.
"""

import base64
import re
from typing import Any

from tests.fakes.kubernetes_api.resources import CONFIG_MAPS, SECRETS
from tests.fakes.kubernetes_api.statuses import Object
from tests.fakes.kubernetes_api.store import Store

_REFERENCE = re.compile(r"\$(\$|\(([^)]+)\))")


class ConfigError(Exception):
    """Something that the container's environment refers to is not there; the text is the kubelet's."""


def environment(store: Store, pod: Object) -> dict[str, str]:
    """The variables of the Pod's container.

    Raises:
        ConfigError: CreateContainerConfigError.
    """
    container = pod["spec"]["containers"][0]
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        for kind, resource in (("configMapRef", CONFIG_MAPS), ("secretRef", SECRETS)):
            if reference := source.get(kind):
                found = _data(store, pod, resource, reference)
                variables |= {source.get("prefix", "") + key: value for key, value in (found or {}).items()}
    for entry in container.get("env") or []:
        value = _value(store, pod, entry)
        if value is not None:
            variables[entry["name"]] = expanded(value, variables)
    return variables


def expanded(text: str, variables: dict[str, str]) -> str:
    """`$(NAME)` becomes its value, if there is one, and `$$` becomes `$`."""

    def replacement(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else variables.get(found[2], found[0])

    return _REFERENCE.sub(replacement, text)


def _value(store: Store, pod: Object, entry: Object) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return str(entry.get("value", ""))
    for kind, resource in (("configMapKeyRef", CONFIG_MAPS), ("secretKeyRef", SECRETS)):
        if reference := source.get(kind):
            found = _data(store, pod, resource, reference)
            if found is not None and reference["key"] in found:
                return str(found[reference["key"]])
            if reference.get("optional"):
                return None
            place = f"{pod['metadata']['namespace']}/{reference['name']}"
            raise ConfigError(f"couldn't find key {reference['key']} in {resource.kind} {place}")
    if field := source.get("fieldRef"):
        return _field(pod, field["fieldPath"])
    return _limit(pod, source["resourceFieldRef"])


def _data(store: Store, pod: Object, resource: Any, reference: Object) -> dict[str, str] | None:
    found = store.find(resource, pod["metadata"]["namespace"], reference["name"])
    if found is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{resource.kind.lower()} "{reference["name"]}" not found')
    data: dict[str, str] = dict(found.get("data") or {})
    if resource is SECRETS:
        data = {key: base64.b64decode(value).decode() for key, value in data.items()}
    return data


def _field(pod: Object, path: str) -> str:
    if keyed := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((pod["metadata"].get(keyed[1]) or {}).get(keyed[2], ""))
    found: Any = pod
    for part in path.split("."):
        found = found.get(part, "")
    return str(found)


def _limit(pod: Object, reference: Object) -> str:
    """A whole number of cores or bytes; without a limit, what the node has."""
    kind, _, name = reference["resource"].partition(".")
    text = str(pod["spec"]["containers"][0]["resources"].get(kind, {}).get(name, "2" if name == "cpu" else "8Gi"))
    number = float(re.match(r"[0-9.]+", text)[0])  # type: ignore[index]
    unit = text.lstrip("0123456789.")
    factor = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[unit]
    return str(-int(-number * factor // 1))
