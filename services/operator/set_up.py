"""What can be found of an operator's set-up without an operator: `python -m services.operator.set_up`."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.operator.settings import OperatorSettings
from shared.findings import Finding, fail, of_settings, ok, tell

if TYPE_CHECKING:
    from services.operator.kubernetes.cluster import Cluster

CHECK = "kubernetes"
CLUSTER_REMEDY = "Run this in an operator's Pod, or with a KUBECONFIG whose current context is the fleet's."


@dataclass(frozen=True)
class Access:
    """What an operator does with a kind of object; with `named` only with the runner Deployment."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    subresource: str = ""
    named: bool = False


NEEDED = (
    Access("batch", "jobs", ("list", "watch", "create", "delete")),
    Access("", "pods", ("list", "watch")),
    Access("", "events", ("list", "watch")),
    Access("apps", "deployments", ("list", "watch"), named=True),
    Access("apps", "deployments", ("patch",), subresource="scale", named=True),
)


def judge(settings: OperatorSettings) -> list[Finding]:
    """Where it starts runners in a cluster: whether it may, and has something to make them from."""
    if settings.launcher != "kubernetes":
        return [ok(CHECK, f"not used: LAUNCHER is {settings.launcher}")]
    return asyncio.run(_of_cluster(settings.runner_deployment))


async def _of_cluster(deployment: str) -> list[Finding]:
    from services.operator.kubernetes.cluster import connect  # noqa: PLC0415 - heavy, and of no use elsewhere

    try:
        async with connect() as cluster:
            access = _of_access(await _denied(cluster, deployment), cluster.namespace)
            if access.status == "fail":
                return [access]
            found = await cluster.list("deployments", {"fieldSelector": f"metadata.name={deployment}"})
            return [access, _of_deployment(deployment, cluster.namespace, there=bool(found["items"]))]
    except Exception as error:  # noqa: BLE001 - a kubeconfig, too, can be wrong in every way there is
        return [fail(CHECK, f"{type(error).__name__}: {error}", CLUSTER_REMEDY)]


async def _denied(cluster: "Cluster", deployment: str) -> list[str]:
    return [
        f"{verb} {one.resource}/{one.subresource}".removesuffix("/")
        for one in NEEDED
        for verb in one.verbs
        if not await cluster.allows(verb, one.group, one.resource, one.subresource, deployment if one.named else "")
    ]


def _of_access(denied: list[str], namespace: str) -> Finding:
    if not denied:
        return ok(CHECK, f"the operator may do what it must in the namespace {namespace}")
    remedy = "Apply the Role and the RoleBinding of k8s/fleet/operator.yaml."
    return fail(CHECK, f"in the namespace {namespace} it may not {', '.join(denied)}", remedy)


def _of_deployment(name: str, namespace: str, *, there: bool) -> Finding:
    if there:
        return ok("runner deployment", f"{name} is in the namespace {namespace}")
    remedy = "Apply k8s/fleet/runner.yaml, or name the Deployment of your runners in RUNNER_DEPLOYMENT."
    return fail("runner deployment", f"there is no Deployment {name} in the namespace {namespace}", remedy)


if __name__ == "__main__":
    tell(of_settings("operator", OperatorSettings, judge))
