"""A cold Job is the warm pool's own template, and says nothing of its launch."""

import copy
import json
from typing import Any

import kubernetes_validate
import pytest

from services.operator.kubernetes.job_manifest import NoTemplate, cold_jobs, job_manifest, job_name, label_value

RUNNER = {
    "name": "runner",
    "image": "example/runner:1",
    "env": [
        {"name": "REDIS_URL", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "url"}}},
        {"name": "RUNNER_SLOTS", "value": "4"},
        {"name": "RUNNER_AUTO_START", "value": "0"},
        {"name": "DAILY_ROOM_URL", "value": "https://example.daily.co/left-behind"},
    ],
    "envFrom": [{"secretRef": {"name": "bot"}}],
    "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
}
TEMPLATE = {
    "metadata": {
        "labels": {"app": "runner", "pod-template-hash": "abc"},
        "annotations": {"example.com/note": "kept"},
    },
    "spec": {
        "containers": [{"name": "sidecar", "image": "example/sidecar:1"}, RUNNER],
        "terminationGracePeriodSeconds": 3660,
        "restartPolicy": "Always",
        "aFieldOfTomorrow": {"of": "any kind"},
    },
}
DEPLOYMENT = {
    "metadata": {"name": "runner", "namespace": "pipefleet", "uid": "u-1", "resourceVersion": "7"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "runner"}}, "template": TEMPLATE},
}


def made(session_id: str = "s1", attempt: int = 1, number: int = 1, deployment: Any = DEPLOYMENT) -> Any:
    return job_manifest(deployment, session_id, attempt, number=number, max_duration_s=14400.5)


def test_a_cold_pod_differs_from_a_warm_one_in_nothing_but_how_it_is_told_to_serve_one_session() -> None:
    template = made()["spec"]["template"]
    runner = template["spec"]["containers"][1]
    assert runner["env"] == [
        RUNNER["env"][0],  # type: ignore[index]
        {"name": "RUNNER_AUTO_START", "value": "1"},
        {"name": "RUNNER_SLOTS", "value": "1"},
    ]
    assert {**runner, "env": RUNNER["env"]} == RUNNER
    warm: Any = copy.deepcopy(TEMPLATE)
    assert template["spec"] == {
        **warm["spec"],
        "containers": [warm["spec"]["containers"][0], runner],
        "restartPolicy": "Never",
    }
    assert template["metadata"]["annotations"] == {"example.com/note": "kept"}


def test_a_cold_pod_keeps_the_labels_of_the_template_but_the_hash_and_names_session_and_attempt() -> None:
    assert made(attempt=2)["spec"]["template"]["metadata"]["labels"] == {
        "app": "runner",
        "pipefleet.dev/start": "cold",
        "pipefleet.dev/deployment": "runner",
        "pipefleet.dev/session": "s1",
        "pipefleet.dev/attempt": "2",
    }


def test_a_job_is_tried_once_outlasts_the_session_is_tidied_away_and_belongs_to_the_deployment() -> None:
    job = made()
    spec = job["spec"]
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (0, 300)
    assert spec["activeDeadlineSeconds"] > 14400 + 600
    [owner] = job["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "runner", "uid": "u-1"}


def test_a_job_selector_finds_the_jobs_of_its_deployment() -> None:
    labels = made()["metadata"]["labels"]
    wanted = dict(part.split("=") for part in cold_jobs("runner").split(","))
    assert wanted.items() <= labels.items()
    assert not wanted.items() <= {**labels, "pipefleet.dev/deployment": "another"}.items()


def test_a_job_is_valid_by_the_published_schema() -> None:
    deployment: Any = copy.deepcopy(DEPLOYMENT)
    del deployment["spec"]["template"]["spec"]["aFieldOfTomorrow"]
    kubernetes_validate.validate(made("a session / of ä user" * 30, 12, 3, deployment), "1.34", strict=True)


def test_the_deployment_is_left_as_it_was() -> None:
    before = json.dumps(DEPLOYMENT)
    made()
    assert json.dumps(DEPLOYMENT) == before


def test_a_template_without_a_container_of_that_name_is_refused() -> None:
    deployment: Any = copy.deepcopy(DEPLOYMENT)
    deployment["spec"]["template"]["spec"]["containers"][1]["name"] = "bot"
    with pytest.raises(NoTemplate, match="no container called runner"):
        made(deployment=deployment)


def test_a_name_is_that_of_one_session_attempt_and_try() -> None:
    names = [job_name(s, a, n) for s in ("s1", "S1", "s" * 200) for a in (1, 2, 12) for n in (1, 2, 12)]
    assert len(set(names)) == len(names)
    assert job_name("s1", 1, 1) == job_name("s1", 1, 1)
    for name in names:
        assert len(name) <= 57, "its Pod's name must be a host name"
        assert name.replace("-", "a").isalnum()
        assert name == name.lower()


@pytest.mark.parametrize("text", ["s1", "a.b_c-d", "A" * 63, "1"])
def test_a_session_id_that_may_be_a_label_is_one(text: str) -> None:
    assert label_value(text) == text


@pytest.mark.parametrize("text", ["", "-a", "a-", "a b", "A" * 64, "ä", "a/b", "a\n"])
def test_any_other_session_id_is_a_digest_in_its_label(text: str) -> None:
    assert label_value(text) != text
    assert label_value(label_value(text)) == label_value(text)
