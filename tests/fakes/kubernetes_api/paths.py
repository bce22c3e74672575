"""What the path and the method of a request mean."""

from collections.abc import Mapping

from tests.fakes.kubernetes_api.access import Wish
from tests.fakes.kubernetes_api.resources import BY_PATH, NAMESPACES
from tests.fakes.kubernetes_api.selecting import name_selected
from tests.fakes.kubernetes_api.statuses import ApiError

_ON_ONE = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_ON_ALL = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}


def wish_of(method: str, path: str, query: Mapping[str, str]) -> Wish:
    """The wish of a request.

    Raises:
        ApiError: 404, there is no such path; 405, not with this method.
    """
    group, version, rest = _api(path.strip("/").split("/"))
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = BY_PATH.get((group, version, rest[0])) if rest else None
    if resource is None or len(rest) > 3 or (bool(namespace) and not resource.namespaced):
        raise ApiError(404, "the server could not find the requested resource")
    name, subresource = (*rest[1:], "", "")[:2]
    verb = (_ON_ONE if name else _ON_ALL).get(method)
    if verb is None or (verb in {"create", "deletecollection"} and resource.namespaced and not namespace):
        raise ApiError(405, "the server does not allow this method on the requested resource")
    if verb in {"list", "deletecollection"}:
        verb = "watch" if verb == "list" and query.get("watch", "") in {"1", "true", "True"} else verb
        name = name_selected(query.get("fieldSelector", "")) if verb != "deletecollection" else ""
    if resource is NAMESPACES and name:
        namespace = name
    return Wish(verb, resource, subresource, namespace, name)


def _api(parts: list[str]) -> tuple[str, str, list[str]]:
    """Group, version and the rest of a path."""
    match parts:
        case ["api", version, *rest]:
            return "", version, rest
        case ["apis", group, version, *rest]:
            return group, version, rest
    raise ApiError(404, "the server could not find the requested resource")
