"""Operators as processes of this machine, in a cluster whose Pods are processes of this machine, too."""

import asyncio
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.contract import ColdStart, Ended, Launch, Leave
from shared.events import history
from shared.redis.connection import Redis
from tests.deployment.manifests import Object, copy_of_k8s, rendered
from tests.fakes.kubernetes_api.cluster import Cluster
from tests.launching import SCRIPTED, Record, offer, records, send
from tests.processes import Child, Children, session_event

IMAGE = "pipefleet-runner:1"
ACCOUNT = "operator"


@cache
def rbac() -> tuple[Object, ...]:
    """What `k8s/` lets the operator do, as it is applied: its ServiceAccount, Role and RoleBinding."""
    with TemporaryDirectory() as folder:
        fleet = rendered(copy_of_k8s(Path(folder)) / "k8s")
    return tuple(fleet.one(kind, ACCOUNT) for kind in ("ServiceAccount", "Role", "RoleBinding"))


def deployment(replicas: int = 0, **container: Any) -> dict[str, Any]:
    """The runner Deployment."""
    runner = {"name": "runner", "image": IMAGE, "env": [{"name": "RUNNER_SLOTS", "value": "2"}], **container}
    labels = {"app.kubernetes.io/name": "runner"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "runner"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [runner], "terminationGracePeriodSeconds": 30},
            },
        },
    }


@dataclass(frozen=True)
class Ground:
    """A cluster, its Redis, and what bots recorded."""

    cluster: Cluster
    children: Children
    redis: Redis
    folder: Path

    def prepare(self, **env: str) -> None:
        """Access for operators, the runner Deployment, and the image that its Pods run: the scripted bot's runner."""
        command = [sys.executable, "-m", "services.runner"]
        self.cluster.apply(*rbac(), deployment())
        self.cluster.run_image(IMAGE, command, **self._bot(), **env)

    def operator(self, **env: str) -> Child:
        """One more operator; it leaves the Deployment's size alone unless told otherwise."""
        number = len(self.children.started)
        kubeconfig = self.cluster.kubeconfig(self.folder / f"kubeconfig-{number}", service_account=ACCOUNT)
        given = {"LAUNCHER": "kubernetes", "OVERFLOW_GRACE": "0.3", "WARM_MAX": "0", "LOG_FORMAT": "json", **env}
        return self.children.service("operator", KUBECONFIG=str(kubeconfig), **given)

    async def stop_operators(self) -> None:
        """Before the cluster goes: they would make Jobs in the place of those that end."""
        operators = [child for child in self.children.started if child.name == "operator" and child.exit_code is None]
        for operator in operators:
            operator.terminate()
        await asyncio.gather(*(operator.wait() for operator in operators))

    def warm_runner(self, slots: int) -> Child:
        """A standby runner, outside of the cluster."""
        return self.children.service("runner", RUNNER_SLOTS=str(slots), **self._bot())

    async def offer(self, do: str = "stay", **launch: Any) -> Launch:
        """A launch for the scripted bot."""
        return await offer(self.redis, body={"do": do}, **launch)

    async def leave(self, launch: Launch) -> None:
        """Its bot leaves."""
        await send(self.redis, launch, Leave(command_id="leave"))
        await session_event(self.redis, launch.session_id, Ended)

    async def told(self, launch: Launch) -> list[ColdStart]:
        """What the session's history says of its cold start."""
        return [event for _, event in await history(self.redis, launch.session_id) if isinstance(event, ColdStart)]

    def entered(self) -> list[Record]:
        """The bots that have begun."""
        return [line for line in records(self.folder / "record") if line.what == "entered"]

    def created(self) -> list[str]:
        """The names of all Jobs that there have ever been."""
        return [
            request.body["metadata"]["name"]
            for request in self.cluster.requests
            if (request.verb, request.kind, request.status) == ("create", "jobs", 201)
        ]

    def _bot(self) -> dict[str, str]:
        return {"BOT": str(SCRIPTED), "BOT_RECORD": str(self.folder / "record"), "STOP_GRACE": "2"}


def unfinished(cluster: Cluster) -> list[str]:
    """The Jobs that are not over."""
    return [
        job["metadata"]["name"]
        for job in cluster.jobs()
        if not any(one["type"] in {"Complete", "Failed"} for one in job["status"].get("conditions", []))
    ]
