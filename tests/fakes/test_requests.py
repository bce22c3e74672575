"""What the server answers: https://kubernetes.io/docs/reference/using-api/api-concepts/."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from tests.fakes.conftest import Connect
from tests.fakes.kubernetes_api.cluster import Cluster
from tests.fakes.manifests import access, deployment, job

NAMESPACE = "pipefleet"


def status(refused: pytest.ExceptionInfo[ApiException]) -> Any:
    """The Status object of a refusal."""
    told = json.loads(str(refused.value.body))
    assert (told["kind"], told["apiVersion"], told["status"], told["code"]) == (
        "Status",
        "v1",
        "Failure",
        refused.value.status,
    )
    return told


async def test_a_name_that_is_taken_is_refused_with_409(batch: Any) -> None:
    await batch.create_namespaced_job(NAMESPACE, job())
    with pytest.raises(ApiException) as refused:
        await batch.create_namespaced_job(NAMESPACE, job())
    assert status(refused)["reason"] == "AlreadyExists"
    assert status(refused)["details"] == {"name": "cold", "group": "batch", "kind": "jobs"}
    assert status(refused)["message"] == 'jobs.batch "cold" already exists'


async def test_what_is_not_there_is_answered_with_404(batch: Any) -> None:
    for call in (batch.read_namespaced_job("no", NAMESPACE), batch.create_namespaced_job("nowhere", job())):
        with pytest.raises(ApiException) as refused:
            await call
        assert (refused.value.status, status(refused)["reason"]) == (404, "NotFound")


BAD_JOBS = {
    "a name of 64 characters": (job("x" * 64), "must be no more than 63 bytes"),
    "an upper case name": (job("Cold"), "RFC 1123 subdomain"),
    "a label with a slash in its value": (job(labels={"session": "a/b"}), "a valid label must be"),
    "restartPolicy Always": (job(pod={"restartPolicy": "Always"}), 'supported values: "OnFailure", "Never"'),
    "a selector of its own": (job(selector={"matchLabels": {"a": "b"}}), "`selector` not auto-generated"),
    "no container": (job(pod={"containers": []}), "spec.template.spec.containers: Required value"),
    "a negative deadline": (job(activeDeadlineSeconds=-1), "must be greater than or equal to 0"),
    "a volume that is not there": (
        job(pod={"containers": [{"name": "a", "image": "b", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
        'Not found: "v"',
    ),
}


@pytest.mark.parametrize("bad", BAD_JOBS)
async def test_a_job_that_is_not_valid_is_refused_with_422_and_the_cause(batch: Any, bad: str) -> None:
    manifest, why = BAD_JOBS[bad]
    with pytest.raises(ApiException) as refused:
        await batch.create_namespaced_job(NAMESPACE, manifest)
    assert (refused.value.status, status(refused)["reason"]) == (422, "Invalid")
    assert any(why in f"{cause['field']}: {cause['message']}" for cause in status(refused)["details"]["causes"])


@pytest.fixture
async def post(kubernetes_api: Cluster, tmp_path: Path) -> AsyncIterator[Any]:
    """Posts a Job as it is: the client's own functions would not let what is wrong pass."""
    token = json.loads(kubernetes_api.kubeconfig(tmp_path / "post").read_text())["users"][0]["user"]["token"]
    async with aiohttp.ClientSession(kubernetes_api.url, headers={"Authorization": f"Bearer {token}"}) as session:

        async def post(body: Any, query: str = "") -> tuple[int, Any, Any]:
            answer = await session.post(f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs{query}", json=body)
            return answer.status, await answer.json(), answer.headers

        yield post


async def test_an_unknown_field_is_dropped_with_a_warning_and_refused_where_it_is_strict(
    kubernetes_api: Cluster, post: Any
) -> None:
    """…/api-concepts/#field-validation: `Warn` is the default."""
    code, made, headers = await post(job("one", colour="red"))
    assert (code, headers["Warning"]) == (201, '299 - "unknown field \\"spec.colour\\""')
    assert "colour" not in made["spec"]
    code, refused, _ = await post(job("two", colour="red"), "?fieldValidation=Strict")
    assert (code, refused["message"]) == (400, 'strict decoding error: unknown field "spec.colour"')
    kubernetes_api.strict()
    assert (await post(job("two", colour="red")))[0] == 400


async def test_a_field_of_the_wrong_type_is_refused_with_400(post: Any) -> None:
    code, refused, _ = await post(job(backoffLimit="none"))
    assert (code, refused["reason"]) == (400, "BadRequest")


async def test_a_field_that_is_missing_is_refused_with_422(post: Any) -> None:
    code, refused, _ = await post({**job(), "spec": {}})
    assert (code, refused["details"]["causes"][0]["field"]) == (422, "spec.template")


async def test_a_body_that_is_no_object_is_refused_with_400(post: Any) -> None:
    assert (await post([]))[0] == 400
    assert (await post({**job(), "kind": "Pod"}))[0] == 400


async def test_the_template_of_a_job_cannot_be_changed(batch: Any) -> None:
    await batch.create_namespaced_job(NAMESPACE, job())
    change = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 5}}}}
    with pytest.raises(ApiException) as refused:
        await batch.patch_namespaced_job("cold", NAMESPACE, change)
    assert (refused.value.status, status(refused)["details"]["causes"][0]["field"]) == (422, "spec.template")


async def test_a_write_from_an_old_version_is_refused_with_409(apps: Any) -> None:
    await apps.create_namespaced_deployment(NAMESPACE, deployment(replicas=0))
    old = await apps.read_namespaced_deployment("runner", NAMESPACE)
    await apps.patch_namespaced_deployment("runner", NAMESPACE, {"metadata": {"labels": {"a": "b"}}})
    old.spec.replicas = 5
    with pytest.raises(ApiException) as refused:
        await apps.replace_namespaced_deployment("runner", NAMESPACE, old)
    assert status(refused)["reason"] == "Conflict"
    assert "the object has been modified" in status(refused)["message"]


async def test_a_deletion_of_what_has_another_uid_by_now_is_refused(batch: Any) -> None:
    await batch.create_namespaced_job(NAMESPACE, job())
    options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    with pytest.raises(ApiException) as refused:
        await batch.delete_namespaced_job("cold", NAMESPACE, body=options)
    assert refused.value.status == 409
    assert "UID in precondition: another" in status(refused)["message"]


async def test_a_list_can_be_had_in_pieces_of_one_version(kubernetes_api: Cluster, batch: Any) -> None:
    """…/api-concepts/#retrieving-large-results-sets-in-chunks."""
    kubernetes_api.apply(*(job(f"job-{number}", suspend=True) for number in range(5)))
    first = await batch.list_namespaced_job(NAMESPACE, limit=2)
    kubernetes_api.apply(job("job-2a", suspend=True))
    second = await batch.list_namespaced_job(NAMESPACE, limit=2, _continue=first.metadata._continue)
    assert [item.metadata.name for item in (*first.items, *second.items)] == [f"job-{number}" for number in range(4)]
    assert first.metadata.remaining_item_count == 3
    assert first.metadata.resource_version == second.metadata.resource_version
    kubernetes_api.compact()
    with pytest.raises(ApiException) as refused:
        await batch.list_namespaced_job(NAMESPACE, limit=2, _continue=second.metadata._continue)
    assert (refused.value.status, status(refused)["reason"]) == (410, "Expired")


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("kind=cold", ["a", "b"]),
        ("kind=cold,attempt!=1", ["b"]),
        ("attempt in (1, 3)", ["a", "c"]),
        ("attempt notin (1)", ["b", "c", "d"]),
        ("!kind", ["d"]),
        ("kind,attempt==3", ["c"]),
    ],
)
async def test_labels_select(kubernetes_api: Cluster, batch: Any, selector: str, found: list[str]) -> None:
    rows = {"a": ("cold", "1"), "b": ("cold", "2"), "c": ("warm", "3")}
    for name, (kind, attempt) in rows.items():
        kubernetes_api.apply(job(name, labels={"kind": kind, "attempt": attempt}, suspend=True))
    kubernetes_api.apply(job("d", labels={"x": "y"}, suspend=True))
    listed = await batch.list_namespaced_job(NAMESPACE, label_selector=selector)
    assert [item.metadata.name for item in listed.items] == found


async def test_a_field_that_has_no_index_cannot_be_selected_by(batch: Any, core: Any) -> None:
    assert (await core.list_namespaced_pod(NAMESPACE, field_selector="status.phase!=Running")).items == []
    with pytest.raises(ApiException) as refused:
        await batch.list_namespaced_job(NAMESPACE, field_selector="spec.suspend=true")
    assert "field label not supported: spec.suspend" in status(refused)["message"]


async def test_a_collection_is_deleted_by_label(kubernetes_api: Cluster, batch: Any) -> None:
    kubernetes_api.apply(job("a", labels={"kind": "cold"}, suspend=True), job("b", labels={"kind": "x"}, suspend=True))
    await batch.delete_collection_namespaced_job(NAMESPACE, label_selector="kind=cold", propagation_policy="Background")
    assert [item["metadata"]["name"] for item in kubernetes_api.jobs()] == ["b"]


async def test_a_job_beyond_the_quota_is_refused_with_403(kubernetes_api: Cluster, batch: Any) -> None:
    """https://kubernetes.io/docs/concepts/policy/resource-quotas/."""
    kubernetes_api.quota("runners", **{"count/jobs.batch": 1})
    await batch.create_namespaced_job(NAMESPACE, job("one"))
    with pytest.raises(ApiException) as refused:
        await batch.create_namespaced_job(NAMESPACE, job("two"))
    assert (refused.value.status, status(refused)["message"]) == (
        403,
        (
            'jobs.batch "two" is forbidden: exceeded quota: runners, requested: count/jobs.batch=1, '
            "used: count/jobs.batch=1, limited: count/jobs.batch=1"
        ),
    )


async def test_a_service_account_may_do_what_its_role_says_and_no_more(
    kubernetes_api: Cluster, connect: Connect
) -> None:
    """https://kubernetes.io/docs/reference/access-authn-authz/rbac/."""
    rules = [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"], "resourceNames": ["runner"]},
    ]
    kubernetes_api.apply(*access("operator", rules), deployment(replicas=0), deployment("other", replicas=0))
    async with connect("operator") as api:
        batch: Any = client.BatchV1Api(api)
        apps: Any = client.AppsV1Api(api)
        await batch.create_namespaced_job(NAMESPACE, job(suspend=True))
        await apps.read_namespaced_deployment("runner", NAMESPACE)
        for call in (
            batch.read_namespaced_job("cold", NAMESPACE),
            batch.list_namespaced_job(NAMESPACE, watch=True),
            batch.list_job_for_all_namespaces(),
            apps.read_namespaced_deployment("other", NAMESPACE),
            apps.list_namespaced_deployment(NAMESPACE),
            apps.read_namespaced_deployment_scale("runner", NAMESPACE),
        ):
            with pytest.raises(ApiException) as refused:
                await call
            assert (refused.value.status, status(refused)["reason"]) == (403, "Forbidden")
    account = "system:serviceaccount:pipefleet:operator"
    assert f'User "{account}" cannot get resource "deployments/scale" in API group "apps"' in status(refused)["message"]
    assert kubernetes_api.used == {("create", "batch", "jobs"), ("get", "apps", "deployments")}
    assert kubernetes_api.granted("operator") - kubernetes_api.used == {("list", "batch", "jobs")}


async def test_a_token_that_nobody_gave_out_is_refused_with_401(kubernetes_api: Cluster, batch: Any) -> None:
    kubernetes_api.revoke_tokens()
    with pytest.raises(ApiException) as refused:
        await batch.list_namespaced_job(NAMESPACE)
    assert status(refused)["reason"] == "Unauthorized"


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_the_next_requests_fail_as_ordered(kubernetes_api: Cluster, batch: Any, code: int) -> None:
    kubernetes_api.fail_next(2, code, verb="create", kind="jobs", retry_after_s=1)
    await batch.list_namespaced_job(NAMESPACE)
    for _ in range(2):
        with pytest.raises(ApiException) as refused:
            await batch.create_namespaced_job(NAMESPACE, job())
        assert (refused.value.status, dict(refused.value.headers or {})["Retry-After"]) == (code, "1")
        assert status(refused)["details"]["retryAfterSeconds"] == 1
    await batch.create_namespaced_job(NAMESPACE, job())
    assert [line.status for line in kubernetes_api.requests if line.verb == "create"] == [code, code, 201]


async def test_an_answer_can_be_lost_before_and_after_the_deed(kubernetes_api: Cluster, batch: Any) -> None:
    kubernetes_api.cut_next(verb="create", when="before")
    with pytest.raises(aiohttp.ClientError):
        await batch.create_namespaced_job(NAMESPACE, job())
    assert kubernetes_api.jobs() == []
    kubernetes_api.cut_next(verb="create", when="after")
    with pytest.raises(aiohttp.ClientError):
        await batch.create_namespaced_job(NAMESPACE, job())
    assert len(kubernetes_api.jobs()) == 1


async def test_a_server_that_was_away_comes_back_at_its_address_with_its_state(
    kubernetes_api: Cluster, batch: Any
) -> None:
    await batch.create_namespaced_job(NAMESPACE, job())
    await kubernetes_api.stop_server()
    with pytest.raises(aiohttp.ClientConnectorError):
        await batch.list_namespaced_job(NAMESPACE)
    await kubernetes_api.start_server()
    assert len((await batch.list_namespaced_job(NAMESPACE)).items) == 1


async def test_requests_are_as_slow_as_ordered(kubernetes_api: Cluster, batch: Any) -> None:
    kubernetes_api.delay(0.1, kind="jobs")
    began = time.monotonic()
    await batch.list_namespaced_job(NAMESPACE)
    assert time.monotonic() - began >= 0.1
