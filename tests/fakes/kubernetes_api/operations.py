"""What can be done to objects, whoever asks: a client over HTTP, or a controller of the cluster itself."""

import copy
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from tests.fakes.kubernetes_api.defaults import with_defaults
from tests.fakes.kubernetes_api.quota import FINISHED, check_quota
from tests.fakes.kubernetes_api.resources import DEPLOYMENTS, JOBS, NAMESPACES, PODS, Resource
from tests.fakes.kubernetes_api.statuses import ApiError, Object, conflict, invalid, not_found
from tests.fakes.kubernetes_api.store import Store, stamp
from tests.fakes.kubernetes_api.validity import check

SCALE = Resource("autoscaling", "v1", "scale", "Scale")
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
"""The finalizers by which the garbage collector knows what to do before an object goes."""
_SERVERS_OWN = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_PREFIX = 58


@dataclass(frozen=True)
class DeleteOptions:
    """https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/delete-options/."""

    policy: Literal["", "Orphan", "Background", "Foreground"] = ""
    grace_s: int | None = None
    uid: str = ""
    version: str = ""


class Operations:
    """Create, update, scale and delete, with everything that the server checks and adds."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, resource: Resource, namespace: str, item: Object) -> Object:
        """A new object. What only the server may set is overwritten."""
        item = copy.deepcopy(item)
        metadata = item.setdefault("metadata", {})
        if metadata.pop("resourceVersion", None):
            raise ApiError(500, "resourceVersion should not be set on objects to be created")
        for field in _SERVERS_OWN:
            metadata.pop(field, None)
        self._place(resource, namespace, metadata)
        metadata["uid"] = str(uuid.uuid4())
        item = with_defaults(resource, item)
        if resource.has_status:
            item["status"] = {"phase": "Pending", "qosClass": "BestEffort"} if resource is PODS else {}
        if resource is JOBS:
            _generate_selector(item)
        check(resource, item)
        check_quota(self._store, resource, item)
        return self._store.create(resource, item)

    def update(self, resource: Resource, before: Object, item: Object, subresource: str = "") -> Object:
        """Another state of an object, made from the state `before`, which must still be the newest if the item says so.

        `status` is written through its subresource alone, and everything else only through the object itself.
        """
        name = before["metadata"]["name"]
        metadata = item.setdefault("metadata", {})
        if metadata.get("resourceVersion", "") not in {"", before["metadata"]["resourceVersion"]}:
            raise conflict(resource, name)
        if metadata.get("uid", "") not in {"", before["metadata"]["uid"]}:
            raise conflict(resource, name, _other_uid(metadata["uid"], before["metadata"]["uid"]))
        if metadata.get("name", name) != name:
            raise ApiError(
                400, f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        if subresource == "status":
            item = {**before, "status": item.get("status", {})}
        else:
            item = _with_servers_own(resource, before, with_defaults(resource, item))
            check(resource, item, before)
        kept = self._store.replace(resource, item)
        return self._gone_if_free(resource, kept)

    def change(self, resource: Resource, item: Object, edit: Callable[[Object], object]) -> Object:
        """For the cluster's own parts, which may write everything: the newest state, edited."""
        return self._gone_if_free(resource, self._store.change(resource, item, edit))

    def delete(self, resource: Resource, item: Object, options: DeleteOptions) -> Object:
        """Begin or finish the deletion; the object is gone at once if nothing holds it.

        https://kubernetes.io/docs/concepts/architecture/garbage-collection/#cascading-deletion. A Job that is deleted
        without a policy leaves its Pods behind: `batch/v1` kept that for those who relied on it.
        """
        _check_preconditions(resource, item, options)
        finalizer = {"Orphan": ORPHAN, "Foreground": FOREGROUND, "Background": ""}[
            options.policy or ("Orphan" if resource is JOBS else "Background")
        ]
        grace_s = _grace_s(resource, item, options)

        def mark(item: Object) -> None:
            metadata = item["metadata"]
            if finalizer and "deletionTimestamp" not in metadata:
                metadata["finalizers"] = [*metadata.get("finalizers", []), finalizer]
            earlier = metadata.get("deletionGracePeriodSeconds")
            if earlier is None or grace_s < earlier:
                metadata["deletionTimestamp"] = stamp(datetime.now(UTC) + timedelta(seconds=grace_s))
                metadata["deletionGracePeriodSeconds"] = grace_s

        if not grace_s and not finalizer and not item["metadata"].get("finalizers"):
            return self._store.remove(resource, item)
        return self.change(resource, item, mark)

    def remove_finalizer(self, resource: Resource, item: Object, finalizer: str) -> Object:
        """With the last one an object that is being deleted goes."""

        def edit(item: Object) -> None:
            left = [name for name in item["metadata"].get("finalizers", []) if name != finalizer]
            item["metadata"].pop("finalizers", None)
            if left:
                item["metadata"]["finalizers"] = left

        return self.change(resource, item, edit)

    def _gone_if_free(self, resource: Resource, item: Object) -> Object:
        metadata = item["metadata"]
        held = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
        return item if "deletionTimestamp" not in metadata or held else self._store.remove(resource, item)

    def _place(self, resource: Resource, namespace: str, metadata: Object) -> None:
        """Namespace and name of a new object."""
        if resource.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                raise ApiError(
                    400, "the namespace of the provided object does not match the namespace sent on the request"
                )
            if not self._store.find(NAMESPACES, "", namespace):
                raise not_found(NAMESPACES, namespace)
        if "name" not in metadata:
            if not metadata.get("generateName"):
                cause = ("FieldValueRequired", "metadata.name", "Required value: name or generateName is required")
                raise invalid(resource, "", [cause])
            tail = "".join(secrets.choice(_NAME_LETTERS) for _ in range(5))
            metadata["name"] = metadata["generateName"][:_LONGEST_PREFIX] + tail


def scale_of(item: Object) -> Object:
    """The `Scale` of something that has replicas."""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = item["spec"]["selector"].get("matchLabels") or {}
    return {
        "apiVersion": SCALE.api_version,
        "kind": SCALE.kind,
        "metadata": {key: item["metadata"][key] for key in kept},
        "spec": {"replicas": item["spec"]["replicas"]},
        "status": {
            "replicas": item["status"].get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(selector.items())),
        },
    }


def scaled(item: Object, scale: Object) -> Object:
    """The item with the replicas of a `Scale`, made from the version that the scale says."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        cause = ("FieldValueInvalid", "spec.replicas", f"Invalid value: {replicas}: must be greater than or equal to 0")
        raise invalid(SCALE, item["metadata"]["name"], [cause])
    metadata = {**item["metadata"], "resourceVersion": scale["metadata"].get("resourceVersion", "")}
    return {**item, "metadata": metadata, "spec": {**item["spec"], "replicas": replicas}}


def has_scale(resource: Resource) -> bool:
    return resource is DEPLOYMENTS


def _with_servers_own(resource: Resource, before: Object, item: Object) -> Object:
    metadata = dict(item["metadata"])
    for field in (*_SERVERS_OWN, "name", "namespace", "resourceVersion"):
        metadata.pop(field, None)
        if field in before["metadata"]:
            metadata[field] = before["metadata"][field]
    item = {**item, "metadata": metadata}
    if resource.has_status:
        item["status"] = before.get("status", {})
    return item


def _generate_selector(job: Object) -> None:
    """Labels by which a Job knows its Pods: its uid, and for people its name; both under their old and new keys."""
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    if "selector" in job["spec"]:
        cause = (
            "FieldValueInvalid",
            "spec.selector",
            f"Invalid value: {job['spec']['selector']}: `selector` not auto-generated",
        )
        raise invalid(JOBS, name, [cause])
    template = job["spec"]["template"]
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    for prefix in ("batch.kubernetes.io/", ""):
        for key, value in ((f"{prefix}controller-uid", uid), (f"{prefix}job-name", name)):
            if labels.setdefault(key, value) != value:
                cause = ("FieldValueInvalid", f"spec.template.metadata.labels[{key}]", f"must be '{value}'")
                raise invalid(JOBS, name, [cause])
    job["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    job["metadata"].setdefault("labels", {}).update(labels if not job["metadata"].get("labels") else {})


def _check_preconditions(resource: Resource, item: Object, options: DeleteOptions) -> None:
    name, metadata = item["metadata"]["name"], item["metadata"]
    if options.uid not in {"", metadata["uid"]}:
        raise conflict(resource, name, _other_uid(options.uid, metadata["uid"]))
    if options.version not in {"", metadata["resourceVersion"]}:
        why = (
            f"Precondition failed: ResourceVersion in precondition: {options.version}, "
            f"ResourceVersion in object meta: {metadata['resourceVersion']}"
        )
        raise conflict(resource, name, why)


def _other_uid(wanted: str, found: str) -> str:
    return f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"


def _grace_s(resource: Resource, item: Object, options: DeleteOptions) -> int:
    """Only Pods have one; https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination."""
    if resource is not PODS:
        return 0
    if not item["spec"].get("nodeName") or item["status"]["phase"] in FINISHED:
        return 0
    default = item["spec"]["terminationGracePeriodSeconds"]
    return int(default if options.grace_s is None else options.grace_s)
