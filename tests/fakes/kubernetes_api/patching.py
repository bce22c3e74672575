"""The three kinds of PATCH that the client sends, by content type.

JSON patch is RFC 6902, merge patch RFC 7386. Strategic merge patch merges lists by the key that the published schema
names (`x-kubernetes-patch-merge-key`), with the directives `$patch: delete` and `$patch: replace`;
https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/.
"""

import copy
from typing import Any

from tests.fakes.kubernetes_api.resources import Resource
from tests.fakes.kubernetes_api.schemas import resolved, schema_of
from tests.fakes.kubernetes_api.statuses import ApiError, Object

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


def patched(resource: Resource, item: Object, content_type: str, patch: Any) -> Object:
    """The object after the patch."""
    if content_type == JSON_PATCH:
        if not isinstance(patch, list):
            raise ApiError(
                400, "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"
            )
        return json_patched(item, patch)
    if not isinstance(patch, dict):
        raise ApiError(
            400, "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    if content_type == MERGE_PATCH:
        return dict(merged(item, patch))
    if content_type == STRATEGIC_PATCH:
        return dict(strategically_merged(item, patch, schema_of(resource.kind, resource.api_version)))
    raise ApiError(
        415,
        "the body of the request was in an unknown format - accepted media types include: "
        f"{JSON_PATCH}, {MERGE_PATCH}, {STRATEGIC_PATCH}",
    )


def merged(value: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, inner in patch.items():
        if inner is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), inner)
    return result


def strategically_merged(value: Any, patch: Any, schema: Any) -> Any:
    """A value of this schema, with the patch merged in."""
    schema = resolved(schema)
    if isinstance(patch, list):
        return _merged_list(value, patch, schema)
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace" or not isinstance(value, dict):
        return _bare(patch)
    result = dict(value)
    for name, inner in _without_directives(patch).items():
        if inner is None:
            result.pop(name, None)
        else:
            below = schema.get("properties", {}).get(name, {})
            result[name] = strategically_merged(result.get(name), inner, below)
    return result


def _merged_list(value: Any, patch: list[Any], schema: Any) -> list[Any]:
    key = schema.get("x-kubernetes-patch-merge-key")
    merging = "merge" in schema.get("x-kubernetes-patch-strategy", "") and isinstance(value, list)
    if not merging or any(isinstance(entry, dict) and entry.get("$patch") == "replace" for entry in patch):
        return [_bare(entry) for entry in patch if not (isinstance(entry, dict) and set(entry) == {"$patch"})]
    if not key:
        return [*value, *(entry for entry in patch if entry not in value)]
    result = list(value)
    for entry in patch:
        at = next((n for n, old in enumerate(result) if old.get(key) == entry.get(key)), None)
        if entry.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            result.append(_bare(entry))
        else:
            result[at] = strategically_merged(result[at], entry, schema["items"])
    return result


def _without_directives(patch: Object) -> Object:
    return {name: inner for name, inner in patch.items() if not name.startswith("$")}


def _bare(patch: Any) -> Any:
    """What a patch makes where nothing was: no directives and no nulls."""
    if isinstance(patch, dict):
        return {name: _bare(inner) for name, inner in _without_directives(patch).items() if inner is not None}
    if isinstance(patch, list):
        return [_bare(entry) for entry in patch]
    return patch


def json_patched(item: Object, operations: list[Any]) -> Object:
    """RFC 6902."""
    result: Any = copy.deepcopy(item)
    for operation in operations:
        try:
            result = _operated(result, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ApiError(
                422, f"the server rejected our request due to an error in our request: {operation}: {error!r}"
            ) from None
    return dict(result)


def _operated(document: Any, operation: Object) -> Any:
    path = _parts(operation["path"])
    match operation["op"]:
        case "add":
            return _added(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            _removed(document, path)
        case "replace":
            _at(document, path)
            _removed(document, path)
            return _added(document, path, copy.deepcopy(operation["value"]))
        case "move":
            return _added(document, path, _removed(document, _parts(operation["from"])))
        case "copy":
            return _added(document, path, copy.deepcopy(_at(document, _parts(operation["from"]))))
        case "test":
            if _at(document, path) != operation["value"]:
                raise ValueError(f"testing value {operation['path']} failed")
        case other:
            raise ValueError(f"unexpected kind: {other}")
    return document


def _parts(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _added(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    place, last = _at(document, path[:-1]), path[-1]
    if isinstance(place, list):
        at = len(place) if last == "-" else int(last)
        if at > len(place):
            raise IndexError(last)
        place.insert(at, value)
    else:
        place[last] = value
    return document


def _removed(document: Any, path: list[str]) -> Any:
    place, last = _at(document, path[:-1]), path[-1]
    return place.pop(int(last)) if isinstance(place, list) else place.pop(last)
