"""Events as controllers and kubelets write them; the same one again raises its count.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/. The scheduler writes through the newer
API group: `eventTime` instead of `firstTimestamp`, which reads as null here.
"""

import secrets
from datetime import UTC, datetime

from tests.fakes.kubernetes_api.resources import EVENTS, Resource
from tests.fakes.kubernetes_api.statuses import Object
from tests.fakes.kubernetes_api.store import Store, stamp

SCHEDULER = "default-scheduler"


def tell(
    store: Store,
    resource: Resource,
    item: Object,
    reason: str,
    message: str,
    *,
    component: str,
    type_: str = "Normal",
) -> None:
    """Write an event about an object."""
    metadata = item["metadata"]
    for event in store.all_of(EVENTS, metadata["namespace"]):
        if (event["involvedObject"]["uid"], event["reason"], event["message"]) == (metadata["uid"], reason, message):
            store.change(EVENTS, event, _once_more)
            return
    about = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{secrets.token_hex(8)}", "namespace": metadata["namespace"]},
        "involvedObject": about,
        "reason": reason,
        "message": message,
        "type": type_,
        "reportingComponent": component,
        "reportingInstance": "",
        **_times(component),
    }
    store.create(EVENTS, event)


def _times(component: str) -> Object:
    now = datetime.now(UTC)
    if component == SCHEDULER:
        when = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"eventTime": when, "firstTimestamp": None, "lastTimestamp": None, "source": {}, "action": "Scheduling"}
    return {
        "eventTime": None,
        "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now),
        "count": 1,
        "source": {"component": component},
    }


def _once_more(event: Object) -> None:
    if event.get("count"):
        event["count"] += 1
        event["lastTimestamp"] = stamp()
    else:
        series = event.setdefault("series", {"count": 1})
        series["count"] += 1
        series["lastObservedTime"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
