"""The kinds of object that the stand-in serves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resource:
    """One kind, and where it is served."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    has_status: bool = False
    """Whether `status` is written through `/status` alone, and ignored elsewhere."""

    @property
    def api_version(self) -> str:
        """As it stands in the object."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As messages call it: `jobs.batch`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


JOBS = Resource("batch", "v1", "jobs", "Job", has_status=True)
PODS = Resource("", "v1", "pods", "Pod", has_status=True)
EVENTS = Resource("", "v1", "events", "Event")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", has_status=True)
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet", has_status=True)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
SERVICES = Resource("", "v1", "services", "Service")
QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota", has_status=True)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
RBAC_GROUP = "rbac.authorization.k8s.io"
ROLES = Resource(RBAC_GROUP, "v1", "roles", "Role")
ROLE_BINDINGS = Resource(RBAC_GROUP, "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = Resource(RBAC_GROUP, "v1", "clusterroles", "ClusterRole", namespaced=False)
CLUSTER_ROLE_BINDINGS = Resource(RBAC_GROUP, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")

RESOURCES = (
    JOBS, PODS, EVENTS, DEPLOYMENTS, REPLICA_SETS, CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, SERVICES, QUOTAS, NAMESPACES,
    ROLES, ROLE_BINDINGS, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, NETWORK_POLICIES, DISRUPTION_BUDGETS,
    ACCESS_REVIEWS,
)  # fmt: skip
BY_PATH = {(resource.group, resource.version, resource.plural): resource for resource in RESOURCES}
BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}
