"""A small cluster for tests: an HTTP server with the real paths, controllers, and a kubelet that starts real processes.

async with running_cluster(children) as cluster:
    cluster.run_image("pipefleet-runner:1", [sys.executable, "-m", "services.runner"], BOT="…")
    cluster.apply(role, binding, deployment)
    await load_kube_config(config_file=str(cluster.kubeconfig(path, service_account="operator")))
    pod = await cluster.until(lambda: cluster.pods(phase="Running"))
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.fakes.kubernetes_api.access import Rule, rules_from
from tests.fakes.kubernetes_api.control_loop import run_controllers
from tests.fakes.kubernetes_api.deployment_controller import DeploymentController
from tests.fakes.kubernetes_api.faults import Cut, Fault
from tests.fakes.kubernetes_api.garbage import GarbageCollector
from tests.fakes.kubernetes_api.http_server import HttpServer, Request, Users
from tests.fakes.kubernetes_api.job_controller import JobController
from tests.fakes.kubernetes_api.kubelet import Kubelet
from tests.fakes.kubernetes_api.operations import DeleteOptions, Operations
from tests.fakes.kubernetes_api.orders import Order, Trouble
from tests.fakes.kubernetes_api.patching import strategically_merged
from tests.fakes.kubernetes_api.pod_run import Node
from tests.fakes.kubernetes_api.resources import (
    BY_KIND,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    PODS,
    QUOTAS,
    RBAC_GROUP,
    Resource,
)
from tests.fakes.kubernetes_api.schemas import decode, schema_of
from tests.fakes.kubernetes_api.statuses import Object
from tests.fakes.kubernetes_api.store import Store
from tests.processes import Children

ADMIN = "system:admin"
BACK_OFF_S = 0.1
"""What the cluster's own back-offs begin with; on a real one 10 s."""
_EVERYTHING = Rule("", frozenset("*"), frozenset("*"), frozenset("*"))


class Cluster:
    """What a test sees of the cluster, and does to it. Nothing runs before `start`."""

    def __init__(self, children: Children, namespace: str = "pipefleet", back_off_s: float = BACK_OFF_S) -> None:
        self.namespace = namespace
        self.store = Store()
        self._operations = Operations(self.store)
        self.node = Node(self.store, self._operations, children, back_off_s)
        self._users = Users({}, self._rules)
        self._kubelet = Kubelet(self.node)
        self.server = HttpServer(self.store, self._operations, self._users)
        self._controllers = (
            GarbageCollector(self.store, self._operations),
            JobController(self.store, self._operations, back_off_s),
            DeploymentController(self.store, self._operations, back_off_s),
            self._kubelet,
        )
        self._controlling: asyncio.Task[None] | None = None
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    # What a client needs.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def kubeconfig(self, path: Path, service_account: str = "") -> Path:
        """Write a kubeconfig with a fresh token: of a service account, which RBAC limits, or of an administrator."""
        token = secrets.token_hex(16)
        self._users.tokens[token] = self._user(service_account) if service_account else ADMIN
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": self.namespace}}],
        }
        path.write_text(json.dumps(config))
        return path

    def revoke_tokens(self) -> None:
        """All requests are answered with 401 until there is a new kubeconfig."""
        self._users.tokens.clear()

    # What is in it.

    def apply(self, *manifests: Object) -> None:
        """What `kubectl apply` does: create the objects, or merge them into those that are there."""
        for manifest in manifests:
            resource = BY_KIND[manifest["apiVersion"], manifest["kind"]]
            item, _ = decode(resource, manifest, strict=True)
            namespace = item["metadata"].get("namespace", self.namespace) if resource.namespaced else ""
            before = self.store.find(resource, namespace, item["metadata"]["name"])
            if before:
                schema = schema_of(resource.kind, resource.api_version)
                self._operations.update(resource, before, dict(strategically_merged(before, item, schema)))
            else:
                self._operations.create(resource, namespace, item)

    def run_image(self, image: str, command: Sequence[str], **env: str) -> None:
        """What an image stands for; `env` goes to all containers, over the variables of their specs."""
        self.node.images[image] = command
        self.node.env |= env
        self.store.wake()

    def objects(self, resource: Resource) -> list[Object]:
        return self.store.all_of(resource, self.namespace)

    def jobs(self) -> list[Object]:
        return self.objects(JOBS)

    def pods(self, phase: str = "", **labels: str) -> list[Object]:
        """Those in this phase, with these labels."""
        found = [pod for pod in self.objects(PODS) if phase in {"", pod["status"]["phase"]}]
        return [pod for pod in found if labels.items() <= (pod["metadata"].get("labels") or {}).items()]

    def pod(self, name: str) -> Object:
        return self.store.get(PODS, self.namespace, name)

    def events(self, reason: str = "") -> list[Object]:
        return [event for event in self.objects(EVENTS) if reason in {"", event["reason"]}]

    def deployment(self, name: str) -> Object:
        return self.store.get(DEPLOYMENTS, self.namespace, name)

    def scale(self, name: str, replicas: int) -> None:
        """A person scales a Deployment."""
        before = self.deployment(name)
        self._operations.update(DEPLOYMENTS, before, {**before, "spec": {**before["spec"], "replicas": replicas}})

    def delete(self, resource: Resource, name: str, grace_s: int | None = None) -> None:
        """A person deletes something with `kubectl delete`; 0 seconds of grace are `--force`."""
        item = self.store.get(resource, self.namespace, name)
        self._operations.delete(resource, item, DeleteOptions(policy="Background", grace_s=grace_s))

    def output(self, pod_name: str) -> str:
        """What the container of a Pod wrote: `kubectl logs`."""
        container = self._kubelet.run_of(self.pod(pod_name)).container
        return container.output() if container else ""

    def pid(self, pod_name: str) -> int:
        """Of the first process of a Pod, as this machine counts."""
        container = self._kubelet.run_of(self.pod(pod_name)).container
        assert container, f"{pod_name} does not run"
        return container.pid

    async def until(self, condition: Callable[[], Any], within_s: float = 20.0) -> Any:
        """What the condition gives as soon as that is true; asked after every change in the cluster."""
        try:
            async with asyncio.timeout(within_s):
                while not (found := condition()):
                    await self.store.moved()
                return found
        except TimeoutError:
            raise AssertionError(f"not within {within_s} s; {self._described()}") from None

    # What was asked of it.

    @property
    def requests(self) -> list[Request]:
        """All of them, in order."""
        return self.server.requests

    @property
    def used(self) -> set[tuple[str, str, str]]:
        """Verb, group and kind of everything that was allowed: to be compared with `granted`."""
        return self.server.used

    def granted(self, service_account: str) -> set[tuple[str, str, str]]:
        """Verb, group and kind of all that RBAC lets a service account do."""
        return set().union(*(rule.granted() for rule in self._rules(self._user(service_account))))

    # What goes wrong.

    def quota(self, name: str = "quota", **hard: int) -> None:
        """Set a ResourceQuota: `quota(pods=2)`, `quota(**{"count/jobs.batch": 1})`; without numbers it is lifted."""
        if self.store.find(QUOTAS, self.namespace, name):
            self.delete(QUOTAS, name)
        spec = {"hard": {what: str(number) for what, number in hard.items()}}
        self.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec})

    def fail_next(
        self, number: int = 1, code: int = 503, *, verb: str = "", kind: str = "", retry_after_s: int = 0
    ) -> None:
        """The next requests of this verb and kind, such as `create` and `jobs`, are answered with an error."""
        self.server.faults.add(Fault(verb, kind, number, code, retry_after_s))

    def cut_next(self, number: int = 1, *, verb: str = "", kind: str = "", when: Cut = "before") -> None:
        """The next requests lose their connection, before or after what they ask for was done."""
        self.server.faults.add(Fault(verb, kind, number, cut=when))

    def delay(self, seconds: float, *, number: int = 1_000_000, verb: str = "", kind: str = "") -> None:
        """The next requests wait for so long."""
        self.server.faults.add(Fault(verb, kind, number, delay_s=seconds))

    def mend(self) -> None:
        """No request fails or waits any more, of those that were ordered to."""
        self.server.faults.clear()

    def strict(self) -> None:
        """Refuse unknown fields, as with `fieldValidation=Strict`, where a request does not say otherwise."""
        self.server.strict = True

    def compact(self, *, running: bool = False) -> None:
        """Forget the history: older versions are answered with 410; with `running` so are the watches that run."""
        self.store.compact()
        if running:
            self.server.command("expire")

    def cut_watches(self, *, in_a_line: bool = False) -> None:
        """All running watches lose their connection, between two events or in the middle of one."""
        self.server.command("cut_in_a_line" if in_a_line else "cut")

    def end_watches(self) -> None:
        """All running watches end in good order, as they do after their time."""
        self.server.command("end")

    def bookmark(self) -> None:
        """All running watches that allow bookmarks get one; a real server sends them about every minute."""
        self.server.command("bookmark")

    async def stop_server(self) -> None:
        """The API is unreachable; the cluster goes on."""
        await self.server.stop()

    async def start_server(self) -> None:
        """The API is there again, on the same port and with the same state."""
        await self.server.start()

    def trouble(
        self,
        trouble: Trouble,
        *,
        pods: int = 1,
        labels: Mapping[str, str] | None = None,
        message: str = "",
        seconds: float = 0.0,
        exit_code: int = 1,
    ) -> Order:
        """Order trouble for the next Pods with these labels; see `orders`."""
        order = Order(trouble, pods, labels or {}, message, seconds, exit_code)
        self.node.orders.append(order)
        return order

    def oom_kill(self, pod_name: str) -> None:
        """The kernel kills the container for its memory."""
        self._kubelet.run_of(self.pod(pod_name)).kill_for("OOMKilled")

    def evict(self, pod_name: str, message: str = "The node was low on resource: memory.") -> None:
        """The kubelet ends the Pod for the sake of its node."""
        self._kubelet.run_of(self.pod(pod_name)).evict(message)

    def lose_node(self, pod_name: str, *, process_lives: bool = False) -> None:
        """The node of the Pod is not heard of any more; its process died with it, or works on unseen."""
        self._kubelet.lose_node(self.pod(pod_name), process_lives=process_lives)

    def collect(self, pod_name: str) -> None:
        """The lost node is given up, and the Pod with it."""
        self._kubelet.collect(self.pod(pod_name))

    # Its life.

    async def start(self) -> None:
        """Serve, and let the controllers work."""
        await self.server.start()
        self._controlling = asyncio.ensure_future(run_controllers(self.store, self._controllers))

    async def aclose(self) -> None:
        """End everything. What went wrong in the stand-in itself is raised here."""
        controlling, self._controlling = self._controlling, None
        if controlling:
            controlling.cancel()
        await self._kubelet.aclose()
        await self.server.stop()
        if controlling:
            with suppress(asyncio.CancelledError):
                await controlling

    def _user(self, service_account: str) -> str:
        return f"system:serviceaccount:{self.namespace}:{service_account}"

    def _rules(self, user: str) -> Iterable[Rule]:
        if user == ADMIN:
            return [_EVERYTHING]
        manifests = [item for resource, item in self.store.everything() if resource.group == RBAC_GROUP]
        return rules_from(manifests, user.rpartition(":")[2], self.namespace)

    def _described(self) -> str:
        pods = [
            (pod["metadata"]["name"], pod["status"].get("phase"), pod["status"].get("reason")) for pod in self.pods()
        ]
        jobs = [(job["metadata"]["name"], job["status"]) for job in self.jobs()]
        last = [(event["reason"], event["message"]) for event in self.events()[-10:]]
        return f"jobs {jobs}, pods {pods}, events {last}"


@asynccontextmanager
async def running_cluster(children: Children, **options: Any) -> AsyncIterator[Cluster]:
    """A cluster that is closed at the end, with everything that runs in it."""
    cluster = Cluster(children, **options)
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.aclose()
