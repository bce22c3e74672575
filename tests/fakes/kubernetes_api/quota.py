"""ResourceQuota, for numbers of objects: `count/jobs.batch`, `pods` and the like.

https://kubernetes.io/docs/concepts/policy/resource-quotas/. `pods` counts those that are not at their end,
`count/pods` all of them.
"""

from tests.fakes.kubernetes_api.resources import PODS, QUOTAS, Resource
from tests.fakes.kubernetes_api.statuses import Object, forbidden
from tests.fakes.kubernetes_api.store import Store

FINISHED = ("Succeeded", "Failed")


def check_quota(store: Store, resource: Resource, item: Object) -> None:
    """Refuse a new object for which a quota of its namespace has no room.

    Raises:
        ApiError: 403, as the admission plugin says it.
    """
    namespace = item["metadata"].get("namespace", "")
    for quota in store.all_of(QUOTAS, namespace) if namespace else []:
        for what, limit in (quota["spec"].get("hard") or {}).items():
            used = _used(store, resource, namespace, what)
            if used is not None and used + 1 > int(limit):
                name = quota["metadata"]["name"]
                raise forbidden(
                    resource,
                    item["metadata"]["name"],
                    f"exceeded quota: {name}, requested: {what}=1, used: {what}={used}, limited: {what}={limit}",
                )


def _used(store: Store, resource: Resource, namespace: str, what: str) -> int | None:
    """None where this line of a quota is not about such objects."""
    if what == f"count/{resource.qualified}":
        return len(store.all_of(resource, namespace))
    if what == "pods" and resource is PODS:
        return sum(pod["status"]["phase"] not in FINISHED for pod in store.all_of(PODS, namespace))
    return None
