"""Lists, in one piece or by `limit` and `continue`: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks.

All pieces are of the version of the first one. A continue token that history no longer covers is answered with 410.
"""

import base64
from collections.abc import Mapping

import msgspec

from tests.fakes.kubernetes_api.resources import Resource
from tests.fakes.kubernetes_api.selecting import Selector
from tests.fakes.kubernetes_api.statuses import ApiError, Object
from tests.fakes.kubernetes_api.store import Store, key_of


class Token(msgspec.Struct):
    """What `continue` carries: the version of the list, and the key after which it goes on."""

    version: int
    namespace: str
    name: str


def asked_version(store: Store, query: Mapping[str, str]) -> int | None:
    """The version that a request says; None for "0" and for none.

    Raises:
        ApiError: 400, it is no version; 504, it is of the future.
    """
    text = query.get("resourceVersion", "")
    if not text:
        return None
    if not text.isdecimal():
        raise ApiError(400, f'invalid resource version "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > store.version:
        raise ApiError(504, f"Too large resource version: {text}, current: {store.version}", retry_after_s=1)
    return int(text) or None


def listed(store: Store, resource: Resource, namespace: str, selected: Selector, query: Mapping[str, str]) -> Object:
    """The list, or the piece of it that is asked for."""
    limit, token = int(query.get("limit") or 0), query.get("continue", "")
    if token:
        version, items = _continued(store, resource, namespace, token)
    else:
        asked_version(store, query)
        version, items = store.version, store.all_of(resource, namespace)
    items = [item for item in items if selected(item)]
    metadata: Object = {"resourceVersion": str(version)}
    if limit and len(items) > limit:
        metadata["continue"] = _token(version, items[limit - 1])
        if not {"labelSelector", "fieldSelector"} & query.keys():
            metadata["remainingItemCount"] = len(items) - limit
        items = items[:limit]
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": metadata,
        "items": [{key: value for key, value in item.items() if key not in {"kind", "apiVersion"}} for item in items],
    }


def _continued(store: Store, resource: Resource, namespace: str, text: str) -> tuple[int, list[Object]]:
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(text), type=Token)
    except ValueError:
        raise ApiError(400, "continue key is not valid: illegal base64 data") from None
    if token.version < store.compacted:
        raise ApiError(
            410,
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
            "the results.",
        )
    then = {key_of(item): item for item in store.all_of(resource, namespace)}
    for change in reversed(store.since(token.version)):
        if change.resource is resource and change.after["metadata"].get("namespace", "") == (
            namespace or change.after["metadata"].get("namespace", "")
        ):
            if change.before is None:
                then.pop(key_of(change.after), None)
            else:
                then[key_of(change.after)] = change.before
    return token.version, [item for key, item in sorted(then.items()) if key > (token.namespace, token.name)]


def _token(version: int, last: Object) -> str:
    namespace, name = key_of(last)
    return base64.urlsafe_b64encode(msgspec.json.encode(Token(version, namespace, name))).decode()
