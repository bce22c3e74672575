"""The kubelet: a task for each Pod, and what can be done to them from outside."""

import asyncio

from tests.fakes.kubernetes_api import pod_status
from tests.fakes.kubernetes_api.operations import DeleteOptions
from tests.fakes.kubernetes_api.pod_run import NODE, Node, PodRun
from tests.fakes.kubernetes_api.quota import FINISHED
from tests.fakes.kubernetes_api.resources import PODS
from tests.fakes.kubernetes_api.statuses import Object


class Kubelet:
    """Starts what is new, stops what is deleted."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._runs: dict[str, PodRun] = {}
        self._tasks: dict[asyncio.Task[None], PodRun] = {}
        self._errors: list[BaseException] = []

    def reconcile(self, now: float) -> float:
        """Look at all Pods. Times are the tasks' own."""
        pods = {pod["metadata"]["uid"]: pod for pod in self._node.store.all_of(PODS)}
        for uid, pod in pods.items():
            if uid not in self._runs and pod["status"]["phase"] not in FINISHED:
                self._start(pod)
            if "deletionTimestamp" in pod["metadata"] and uid in self._runs:
                self._runs[uid].note_deletion(pod["metadata"]["deletionGracePeriodSeconds"])
        for uid in self._runs.keys() - pods.keys():
            self._runs.pop(uid).note_removal()
        return float("inf")

    def run_of(self, pod: Object) -> PodRun:
        """What runs for a Pod."""
        return self._runs[pod["metadata"]["uid"]]

    def lose_node(self, pod: Object, *, process_lives: bool) -> None:
        """The node of a Pod is not heard of any more.

        https://kubernetes.io/docs/concepts/architecture/nodes/#condition: the Pod is marked for deletion, and stays as
        long as nobody knows whether it has stopped.
        """
        run = self.run_of(pod)
        run.lose()
        if run.container and not process_lives:
            run.container.kill()
        operations = self._node.operations
        pod = operations.change(PODS, pod, _mark_unreachable)
        operations.delete(PODS, pod, DeleteOptions(policy="Background"))

    def collect(self, pod: Object) -> None:
        """The node is given up, and its Pods with it: Pod garbage collection."""

        def edit(pod: Object) -> None:
            pod["status"]["phase"] = "Failed"
            pod_status.set_condition(
                pod, "DisruptionTarget", True, "DeletionByPodGC", f"PodGC: node {NODE} no longer exists"
            )

        pod = self._node.operations.change(PODS, pod, edit)
        self._node.operations.delete(PODS, pod, DeleteOptions(policy="Background", grace_s=0))

    async def aclose(self) -> None:
        """End all processes and tasks.

        Raises:
            ExceptionGroup: a task of the stand-in itself failed.
        """
        for task in self._tasks:
            task.cancel()
        runs = list(self._tasks.values())
        if self._tasks:
            await asyncio.wait(list(self._tasks))
        for run in runs:
            if run.container:
                run.container.kill()
                await run.container.wait()
        await asyncio.sleep(0)
        if self._errors:
            raise BaseExceptionGroup("in the kubelet", self._errors)

    def _start(self, pod: Object) -> None:
        run = self._runs[pod["metadata"]["uid"]] = PodRun(self._node, pod)
        task = asyncio.ensure_future(run.run())
        self._tasks[task] = run
        task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._errors.append(error)


def _mark_unreachable(pod: Object) -> None:
    message = f"Node {NODE} which was running pod {pod['metadata']['name']} is unresponsive"
    pod_status.set_condition(pod, "Ready", False, "NodeNotReady")
    pod_status.set_condition(
        pod, "DisruptionTarget", True, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"
    )
    pod["status"] |= {"reason": "NodeLost", "message": message}
