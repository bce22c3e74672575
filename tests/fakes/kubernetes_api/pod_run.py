"""One Pod on its node, from scheduling to its end: a real process, and a status that tells the truth about it.

Of a container's spec it heeds image, command, args, variables and probes. Volumes are not mounted, `lifecycle` hooks
are not called, and limits and users are not set.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.fakes.kubernetes_api import pod_status
from tests.fakes.kubernetes_api.containers import Container
from tests.fakes.kubernetes_api.events import SCHEDULER, tell
from tests.fakes.kubernetes_api.operations import DeleteOptions, Operations
from tests.fakes.kubernetes_api.orders import MESSAGES, Order, Trouble
from tests.fakes.kubernetes_api.pod_environment import ConfigError, environment
from tests.fakes.kubernetes_api.probes import UnhealthyError, probe
from tests.fakes.kubernetes_api.resources import PODS
from tests.fakes.kubernetes_api.statuses import Object
from tests.fakes.kubernetes_api.store import Store, key_of
from tests.processes import Children, free_port

NODE = "node-1"
HEALTH_PORT = "HEALTH_PORT"
_LONGEST_BACK_OFF = 30


@dataclass
class Node:
    """What the Pods of the cluster run on: one machine, this one."""

    store: Store
    operations: Operations
    children: Children
    back_off_s: float
    images: dict[str, Sequence[str]] = field(default_factory=dict)
    """The command that an image stands for; an image that is not here cannot be pulled."""
    env: dict[str, str] = field(default_factory=dict)
    """Variables that every container gets, over those of its spec."""
    orders: list[Order] = field(default_factory=list)

    def order(self, trouble: Trouble, pod: Object) -> Order | None:
        """The trouble that this Pod gets."""
        return next((order for order in self.orders if order.take(trouble, pod)), None)


class PodRun:
    """`run` lives as long as the Pod does. The kubelet tells it of its deletion."""

    def __init__(self, node: Node, pod: Object) -> None:
        self._node = node
        self._key = key_of(pod)
        self._pod = pod
        self.uid = pod["metadata"]["uid"]
        self.container: Container | None = None
        self._stopping = asyncio.Event()
        self._killing: asyncio.TimerHandle | None = None
        self._grace_s: float | None = None
        self._killed_for = ""
        self._over = False

    async def run(self) -> None:
        """Until the Pod is gone."""
        living = asyncio.ensure_future(self._live())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                living.result()
                await stopping
        finally:
            living.cancel()
            stopping.cancel()
            await asyncio.wait({living, stopping})
        await self._end()

    def note_deletion(self, grace_s: float) -> None:
        """It is to stop within the grace; may be said again, with less."""
        if self._grace_s is None or grace_s < self._grace_s:
            self._grace_s = grace_s
            self._stopping.set()
            if self._killing and self.container:
                self._kill_in(grace_s, self.container)

    def note_removal(self) -> None:
        """The object is gone already, by force; the process still has its grace."""
        self.note_deletion(self._pod["spec"]["terminationGracePeriodSeconds"])

    def kill_for(self, reason: str) -> None:
        """Such as OOMKilled."""
        assert self.container, "it does not run"
        self._killed_for = reason
        self.container.kill()

    def evict(self, message: str) -> None:
        """The kubelet needs its memory; the object stays, for whoever reads it."""
        self._over = True

        def edit(pod: Object) -> None:
            pod_status.set_condition(pod, "DisruptionTarget", True, "TerminationByKubelet", message)
            pod_status.terminate(pod, 137)
            pod_status.fail(pod, "Evicted", message)

        self._write(edit)
        self._tell("Evicted", message, type_="Warning")
        if self.container:
            self.container.kill()

    def lose(self) -> None:
        """Nothing is heard of this node any more."""
        self._over = True

    async def _live(self) -> None:
        await self._be_scheduled()
        self._write(pod_status.create)
        if order := self._node.order("slow", self._pod):
            await asyncio.sleep(order.seconds)
        await self._pull()
        policy, failures = self._pod["spec"]["restartPolicy"], 0
        while True:
            code = await self._run_once()
            if policy == "Never" or (policy == "OnFailure" and code == 0):
                self._write(pod_status.finish)
                return
            delay_s = self._back_off(failures)
            name, uid = self._pod["spec"]["containers"][0]["name"], self.uid
            message = (
                f"back-off {delay_s:g}s restarting failed container={name} pod={self._key[1]}_{self._key[0]}({uid})"
            )
            self._write(partial(pod_status.restart_after, message=message))
            self._tell("BackOff", f"Back-off restarting failed container {name} in pod {self._key[1]}", type_="Warning")
            await asyncio.sleep(delay_s)
            failures += 1

    async def _be_scheduled(self) -> None:
        if order := self._node.order("unschedulable", self._pod):
            message = order.message or MESSAGES["unschedulable"]
            self._write(lambda pod: pod_status.set_condition(pod, "PodScheduled", False, "Unschedulable", message))
            self._tell("FailedScheduling", message, component=SCHEDULER, type_="Warning")
            await order.released.wait()
        self._write(partial(pod_status.assign, node=NODE))
        self._tell("Scheduled", f"Successfully assigned {'/'.join(self._key)} to {NODE}", component=SCHEDULER)

    async def _pull(self) -> None:
        """https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff."""
        image, order, failures = self._image, self._node.order("image", self._pod), 0
        self._tell("Pulling", f'Pulling image "{image}"')
        while image not in self._node.images or (order and not order.released.is_set()):
            why = (order.message if order else "") or f'{MESSAGES["image"]}: "{image}"'
            self._write(partial(pod_status.wait, reason="ErrImagePull", message=why))
            self._tell("Failed", f'Failed to pull image "{image}": {why}', type_="Warning")
            self._tell("Failed", "Error: ErrImagePull", type_="Warning")
            await asyncio.sleep(0)
            why = f'Back-off pulling image "{image}": ErrImagePull: {why}'
            self._write(partial(pod_status.wait, reason="ImagePullBackOff", message=why))
            self._tell("BackOff", f'Back-off pulling image "{image}"')
            await asyncio.sleep(self._back_off(failures))
            failures += 1
        self._tell("Pulled", f'Successfully pulled image "{image}"')

    async def _configured(self) -> dict[str, str]:
        order = self._node.order("config", self._pod)
        while True:
            try:
                if order and not order.released.is_set():
                    raise ConfigError(order.message or MESSAGES["config"])
                return environment(self._node.store, self._pod)
            except ConfigError as error:
                self._write(partial(pod_status.wait, reason="CreateContainerConfigError", message=str(error)))
                self._tell("Failed", f"Error: {error}", type_="Warning")
                await asyncio.sleep(self._node.back_off_s)

    async def _run_once(self) -> int:
        """The container's whole life; its exit code."""
        variables = await self._configured()
        spec, port = self._pod["spec"]["containers"][0], free_port()
        if HEALTH_PORT in variables or any(
            spec.get(kind) for kind in ("startupProbe", "readinessProbe", "livenessProbe")
        ):
            variables[HEALTH_PORT] = str(port)
        self._killed_for = ""
        self.container = Container(self._node.children, self._key[1], self._command(), {**variables, **self._node.env})
        name = spec["name"]
        self._tell("Created", f"Container created: {name}")
        await self.container.begin()
        self._write(partial(pod_status.start, container_id=f"process://{self.uid}"))
        self._tell("Started", f"Container started: {name}")
        if self._node.order("oom", self._pod):
            self.kill_for("OOMKilled")
        probing = asyncio.ensure_future(self._probe(spec, port))
        try:
            code = await self.container.wait()
        finally:
            probing.cancel()
            await asyncio.wait({probing})
        self._write(partial(pod_status.terminate, exit_code=code, reason=self._killed_for))
        return code

    def _command(self) -> list[str]:
        if order := self._node.order("crash", self._pod):
            return ["sh", "-c", f"exit {order.exit_code}"]
        spec = self._pod["spec"]["containers"][0]
        own: Iterable[str] = spec.get("command") or self._node.images[self._image]
        return [*own, *(spec.get("args") or [])]

    async def _probe(self, spec: Mapping[str, object], port: int) -> None:
        def ready(ready: bool) -> None:
            self._write(partial(pod_status.set_ready, ready=ready))

        try:
            await probe(dict(spec), port, lambda: self._write(pod_status.set_started), ready)
        except UnhealthyError as error:
            self._tell("Unhealthy", f"Container {spec['name']} {error}, will be restarted", type_="Warning")
            assert self.container
            self.container.ask_to_stop()
            self._kill_in(self._pod["spec"]["terminationGracePeriodSeconds"], self.container)

    async def _end(self) -> None:
        """Stop what runs; then the object may go."""
        if self.container and self.container.exit_code is None and not self._over:
            self._tell("Killing", f"Stopping container {self._pod['spec']['containers'][0]['name']}")
            self.container.ask_to_stop()
            self._kill_in(self._grace_s or 0, self.container)
            code = await self.container.wait()
            self._write(partial(pod_status.terminate, exit_code=code))
            self._write(pod_status.finish)
        if self._killing:
            self._killing.cancel()
        pod = self._found()
        if pod and not self._over:
            self._node.operations.delete(PODS, pod, DeleteOptions(policy="Background", grace_s=0))

    def _kill_in(self, grace_s: float, container: Container) -> None:
        if self._killing:
            self._killing.cancel()
        self._killing = asyncio.get_running_loop().call_later(grace_s, container.kill)

    def _back_off(self, failures: int) -> float:
        return self._node.back_off_s * min(2.0**failures, _LONGEST_BACK_OFF)

    @property
    def _image(self) -> str:
        return str(self._pod["spec"]["containers"][0]["image"])

    def _found(self) -> Object | None:
        pod = self._node.store.find(PODS, *self._key)
        return pod if pod and pod["metadata"]["uid"] == self.uid else None

    def _write(self, edit: Callable[[Object], object]) -> None:
        """To the object, as long as it is there and its node is heard."""
        if (pod := self._found()) and pod["status"].get("reason") not in {"Evicted", "NodeLost"}:
            self._pod = self._node.operations.change(PODS, pod, edit)

    def _tell(self, reason: str, message: str, component: str = "kubelet", type_: str = "Normal") -> None:
        tell(self._node.store, PODS, self._pod, reason, message, component=component, type_=type_)
