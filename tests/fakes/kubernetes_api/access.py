"""Who may do what: RBAC as the real authorizer reads it.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/. `resourceNames` cannot allow create or deletecollection,
nor list and watch unless their field selector picks the one name (`metadata.name=…`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.fakes.kubernetes_api.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    RBAC_GROUP,
    RESOURCES,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)
from tests.fakes.kubernetes_api.statuses import ApiError, Object, forbidden


@dataclass(frozen=True)
class Rule:
    """One rule of a role, for the namespace of its binding; empty for all of them."""

    namespace: str
    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str] = frozenset()

    def granted(self) -> set[tuple[str, str, str]]:
        """Verb, group, resource; a subresource is `deployments/scale`."""
        return {(verb, group, kind) for verb in self.verbs for group in self.groups for kind in self.resources}


@dataclass(frozen=True)
class Wish:
    """What a request wants to do."""

    verb: str
    resource: Resource
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def kind(self) -> str:
        """As rules spell it: `jobs`, `deployments/scale`."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    @property
    def used(self) -> tuple[str, str, str]:
        """To be compared with what rules grant."""
        return self.verb, self.resource.group, self.kind


def allows(rule: Rule, wish: Wish) -> bool:
    """Whether one rule is enough. A wish of the whole cluster has no namespace."""
    wildcard = f"*/{wish.subresource}" if wish.subresource else "*"
    return (
        (not rule.namespace or rule.namespace == wish.namespace)
        and not rule.verbs.isdisjoint({wish.verb, "*"})
        and not rule.groups.isdisjoint({wish.resource.group, "*"})
        and not rule.resources.isdisjoint({wish.kind, "*", wildcard})
        and (not rule.names or wish.name in rule.names)
    )


def check_access(rules: Iterable[Rule], user: str, wish: Wish) -> None:
    """Refuse what no rule allows.

    Raises:
        ApiError: 403.
    """
    if any(allows(rule, wish) for rule in rules):
        return
    scope = f'in the namespace "{wish.namespace}"' if wish.namespace else "at the cluster scope"
    raise forbidden(
        wish.resource,
        wish.name,
        f'User "{user}" cannot {wish.verb} resource "{wish.kind}" in API group "{wish.resource.group}" {scope}',
    )


def reviewed(rules: Iterable[Rule], review: Object) -> Object:
    """A SelfSubjectAccessReview with its answer; of what is not of a kind that is served here the answer is no."""
    asked = review["spec"].get("resourceAttributes") or {}
    found = [one for one in RESOURCES if (one.group, one.plural) == (asked.get("group", ""), asked.get("resource"))]
    names = (asked.get("subresource", ""), asked.get("namespace", ""), asked.get("name", ""))
    wishes = [Wish(asked.get("verb", ""), resource, *names) for resource in found]
    allowed = any(allows(rule, wish) for rule in rules for wish in wishes)
    return {**review, "metadata": {}, "status": {"allowed": allowed}}


def unauthorized() -> ApiError:
    """401: no token, or one that nobody gave out."""
    return ApiError(401, "Unauthorized")


def rules_from(manifests: Iterable[Object], service_account: str, namespace: str = "default") -> list[Rule]:
    """What a service account may do by these documents: ServiceAccount, its bindings, their roles.

    `namespace` is that of the account, and of documents that name none.
    """
    documents = list(manifests)

    def place(document: Object) -> str:
        return str(document["metadata"].get("namespace", namespace))

    def those(resource: Resource) -> list[Object]:
        return [document for document in documents if document.get("kind") == resource.kind]

    roles = {(ROLES.kind, place(role), role["metadata"]["name"]): role for role in those(ROLES)}
    roles |= {(CLUSTER_ROLES.kind, "", role["metadata"]["name"]): role for role in those(CLUSTER_ROLES)}
    found = []
    for binding in [*those(ROLE_BINDINGS), *those(CLUSTER_ROLE_BINDINGS)]:
        where = place(binding) if binding["kind"] == ROLE_BINDINGS.kind else ""
        if not any(_is_account(subject, service_account, namespace) for subject in binding.get("subjects") or []):
            continue
        reference = binding["roleRef"]
        assert reference["apiGroup"] == RBAC_GROUP, reference
        role = roles.get((reference["kind"], where if reference["kind"] == ROLES.kind else "", reference["name"]))
        found += [_rule(where, rule) for rule in (role or {}).get("rules") or []]
    return found


def _is_account(subject: Object, name: str, namespace: str) -> bool:
    """A binding's subject must name the namespace of an account: without one it is nobody."""
    return (subject["kind"], subject.get("namespace"), subject["name"]) == ("ServiceAccount", namespace, name)


def _rule(namespace: str, rule: Object) -> Rule:
    return Rule(
        namespace,
        frozenset(rule["verbs"]),
        frozenset(rule.get("apiGroups") or []),
        frozenset(rule.get("resources") or []),
        frozenset(rule.get("resourceNames") or []),
    )
