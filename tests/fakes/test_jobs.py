"""Jobs and their Pods: https://kubernetes.io/docs/concepts/workloads/controllers/job/."""

import sys
from typing import Any

import pytest

from tests.fakes.kubernetes_api.cluster import Cluster
from tests.fakes.kubernetes_api.resources import DEPLOYMENTS, JOBS
from tests.fakes.kubernetes_api.statuses import Object
from tests.fakes.manifests import IMAGE, STAY, deployment, job

NAMESPACE = "pipefleet"


def condition(item: Object, type_: str) -> Any:
    return next((c for c in item["status"].get("conditions", []) if c["type"] == type_), None)


async def until_job(cluster: Cluster, type_: str) -> Object:
    """The only Job, once it has this condition."""
    found: Object = await cluster.until(lambda: next((job for job in cluster.jobs() if condition(job, type_)), None))
    return found


async def test_a_job_runs_a_process_named_for_its_pod_and_is_complete(kubernetes_api: Cluster, batch: Any) -> None:
    program = "import os, socket; print(socket.gethostname(), os.getpid(), os.environ['REDIS_URL'])"
    kubernetes_api.run_image(IMAGE, [sys.executable, "-c", program])
    made = await batch.create_namespaced_job(NAMESPACE, job())
    done = await until_job(kubernetes_api, "Complete")
    [pod] = kubernetes_api.pods("Succeeded")
    name = pod["metadata"]["name"]
    assert kubernetes_api.output(name).startswith(f"{name} 1 unix:")
    assert name.startswith("cold-")
    assert pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == made.metadata.uid
    assert pod["metadata"]["ownerReferences"][0]["name"] == "cold"
    assert (done["status"]["succeeded"], done["status"].get("active")) == (1, None)
    assert condition(done, "SuccessCriteriaMet")["reason"] == "CompletionsReached"


@pytest.mark.parametrize(("policy", "attempts"), [("Never", 2), ("OnFailure", 1)])
async def test_a_job_whose_process_fails_is_tried_again_up_to_its_limit(
    kubernetes_api: Cluster, batch: Any, policy: str, attempts: int
) -> None:
    """`Never` makes a new Pod for each attempt, `OnFailure` starts the container again in the one that is there."""
    kubernetes_api.run_image(IMAGE, ["sh", "-c", "exit 3"])
    await batch.create_namespaced_job(NAMESPACE, job(pod={"restartPolicy": policy}, backoffLimit=1))
    failed = await until_job(kubernetes_api, "Failed")
    assert condition(failed, "Failed")["reason"] == "BackoffLimitExceeded"
    assert condition(failed, "FailureTarget")
    assert len(kubernetes_api.events("SuccessfulCreate")) == attempts


async def test_a_job_past_its_deadline_is_ended(kubernetes_api: Cluster, batch: Any) -> None:
    kubernetes_api.run_image(IMAGE, STAY)
    await batch.create_namespaced_job(NAMESPACE, job(activeDeadlineSeconds=1))
    failed = await until_job(kubernetes_api, "Failed")
    assert condition(failed, "Failed")["reason"] == "DeadlineExceeded"
    assert kubernetes_api.pods("Running") == []


async def test_a_finished_job_goes_after_its_time_to_live(kubernetes_api: Cluster, batch: Any) -> None:
    kubernetes_api.run_image(IMAGE, ["true"])
    await batch.create_namespaced_job(NAMESPACE, job(ttlSecondsAfterFinished=0))
    await kubernetes_api.until(lambda: not kubernetes_api.jobs() and not kubernetes_api.pods())
    assert len(kubernetes_api.events("Completed")) == 1


async def test_a_job_that_is_deleted_without_a_policy_leaves_its_pod_behind(
    kubernetes_api: Cluster, batch: Any
) -> None:
    """The default of `batch/v1` is Orphan, with a Warning; everywhere else it is Background."""
    kubernetes_api.run_image(IMAGE, STAY)
    await batch.create_namespaced_job(NAMESPACE, job())
    await kubernetes_api.until(lambda: kubernetes_api.pods("Running"))
    answer = await batch.delete_namespaced_job_with_http_info("cold", NAMESPACE)
    assert "child pods are preserved" in answer.headers["Warning"]
    await kubernetes_api.until(lambda: not kubernetes_api.jobs())
    [pod] = kubernetes_api.pods("Running")
    assert "ownerReferences" not in pod["metadata"]


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_a_job_that_is_deleted_with_a_policy_takes_its_pod_along(
    kubernetes_api: Cluster, batch: Any, policy: str
) -> None:
    """Foreground: the Job stays, marked, until its Pod is gone. Background: the other way round."""
    kubernetes_api.run_image(IMAGE, STAY)
    await batch.create_namespaced_job(NAMESPACE, job())
    await kubernetes_api.until(lambda: kubernetes_api.pods("Running"))
    await batch.delete_namespaced_job("cold", NAMESPACE, propagation_policy=policy)
    assert len(kubernetes_api.jobs()) == (policy == "Foreground")
    await kubernetes_api.until(lambda: not kubernetes_api.pods() and not kubernetes_api.jobs())


async def test_a_job_goes_with_the_deployment_that_owns_it(kubernetes_api: Cluster, batch: Any) -> None:
    kubernetes_api.apply(deployment(replicas=0))
    kubernetes_api.run_image(IMAGE, STAY)
    owner = kubernetes_api.deployment("runner")
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "runner", "uid": owner["metadata"]["uid"]}
    owned = job()
    owned["metadata"]["ownerReferences"] = [reference]
    await batch.create_namespaced_job(NAMESPACE, owned)
    await kubernetes_api.until(lambda: kubernetes_api.pods("Running"))
    kubernetes_api.delete(DEPLOYMENTS, "runner")
    await kubernetes_api.until(lambda: not kubernetes_api.jobs() and not kubernetes_api.pods())


async def test_a_pod_for_which_there_is_no_quota_is_an_event_of_its_job_and_is_tried_again(
    kubernetes_api: Cluster, batch: Any, core: Any
) -> None:
    kubernetes_api.run_image(IMAGE, ["true"])
    kubernetes_api.quota(pods=0)
    await batch.create_namespaced_job(NAMESPACE, job())
    await kubernetes_api.until(lambda: kubernetes_api.events("FailedCreate"))
    events = await core.list_namespaced_event(
        NAMESPACE, field_selector="involvedObject.kind=Job,involvedObject.name=cold,reason=FailedCreate"
    )
    assert "exceeded quota: quota, requested: pods=1, used: pods=0, limited: pods=0" in events.items[0].message
    kubernetes_api.quota()
    await until_job(kubernetes_api, "Complete")


async def test_a_deleted_pod_is_a_failure_of_its_job(kubernetes_api: Cluster, batch: Any, core: Any) -> None:
    kubernetes_api.run_image(IMAGE, STAY)
    await batch.create_namespaced_job(NAMESPACE, job())
    [pod] = await kubernetes_api.until(lambda: kubernetes_api.pods("Running"))
    await core.delete_namespaced_pod(pod["metadata"]["name"], NAMESPACE)
    failed = await until_job(kubernetes_api, "Failed")
    assert failed["status"]["failed"] == 1
    kubernetes_api.delete(JOBS, "cold")
