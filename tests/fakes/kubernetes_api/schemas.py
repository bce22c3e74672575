"""The published schemas, as the package `kubernetes-validate` brings them: what a request's body must look like.

A field that the schema does not know is dropped with a `Warning`, or with `fieldValidation=Strict` refused with 400;
a wrong type is refused with 400 in any case; https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from kubernetes_validate.utils import latest_version, schema_contents
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.fakes.kubernetes_api.resources import Resource
from tests.fakes.kubernetes_api.statuses import ApiError, Object, invalid


@cache
def _contents(name: str) -> Any:
    version = latest_version()
    return schema_contents(f"kubernetes-json-schema/v{version}-local/{name}.json", version)


@cache
def _validator(kind: str, api_version: str) -> Any:
    group, _, version = api_version.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], version)))
    definitions = DRAFT202012.create_resource(_contents("_definitions"))
    registry: Registry[Any] = (definitions @ Registry()).crawl()  # once, not at each reference
    return Draft202012Validator(_contents(name), registry=registry)


def schema_of(kind: str, api_version: str) -> Any:
    """The schema of one kind; `properties_of` goes down from there."""
    return _validator(kind, api_version).schema


def resolved(schema: Any) -> Any:
    """The schema itself where there is a reference to it."""
    reference = schema.get("$ref")
    return _contents("_definitions")["$defs"][reference.rpartition("/")[2]] if reference else schema


def without_unknown(value: Any, schema: Any, path: str = "") -> tuple[Any, list[str]]:
    """The value without the fields that its schema does not know, and their paths."""
    schema = resolved(schema)
    unknown: list[str] = []
    if isinstance(value, dict) and "properties" in schema:
        kept = {}
        for name, inner in value.items():
            place = f"{path}.{name}" if path else name
            if name in schema["properties"]:
                kept[name], found = without_unknown(inner, schema["properties"][name], place)
                unknown += found
            else:
                unknown.append(place)
        return kept, unknown
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        items = [without_unknown(inner, schema["items"], f"{path}[{n}]") for n, inner in enumerate(value)]
        return [item for item, _ in items], [place for _, found in items for place in found]
    return value, unknown


def decode(resource: Resource, body: Any, *, strict: bool) -> tuple[Object, list[str]]:
    """An object as the server understands it, and the warnings that go with it.

    Raises:
        ApiError: 400, it cannot be understood; 422, something that is required is missing.
    """
    if not isinstance(body, dict):
        raise ApiError(400, f"couldn't get version/kind; json parse error: {body!r:.40}")
    body = {"apiVersion": resource.api_version, "kind": resource.kind} | {
        k: v for k, v in body.items() if v is not None
    }
    if (body["apiVersion"], body["kind"]) != (resource.api_version, resource.kind):
        raise ApiError(
            400,
            f'{body["kind"]} in version "{body["apiVersion"]}" cannot be handled as a {resource.kind}: '
            f"no kind is registered for it at this path",
        )
    known, unknown = without_unknown(body, schema_of(resource.kind, resource.api_version))
    warnings = [f'unknown field "{path}"' for path in unknown]
    if strict and warnings:
        raise ApiError(400, f"strict decoding error: {', '.join(warnings)}")
    causes = list(_complaints(resource, known))
    if causes:
        raise invalid(resource, str(known.get("metadata", {}).get("name", "")), causes)
    return known, warnings


def _complaints(resource: Resource, body: Object) -> Iterator[tuple[str, str, str]]:
    for error in _validator(resource.kind, resource.api_version).iter_errors(body):
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")
        if error.validator == "required":
            missing = error.message.split("'")[1]
            yield "FieldValueRequired", f"{path}.{missing}".lstrip("."), "Required value"
        elif error.validator in {"type", "oneOf"}:
            raise ApiError(
                400,
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                f"json: cannot unmarshal into field {path}: {error.message}",
            )
        else:
            yield "FieldValueInvalid", path, f"Invalid value: {error.message}"
