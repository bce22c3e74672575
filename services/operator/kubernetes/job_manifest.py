"""A cold runner as a Job: the warm pool's own Pod template, told to serve one session and exit.

Nothing of the launch is in it. Which launch it was made for is in its name and labels, for people and so that a second
operator finds it; it serves whichever waits longest.
"""

import copy
import hashlib
import math
import re

from services.operator.kubernetes.cluster import Json

CONTAINER = "runner"
SESSION = "pipefleet.dev/session"
ATTEMPT = "pipefleet.dev/attempt"
START = "pipefleet.dev/start"
FLEET = "pipefleet.dev/deployment"
KEPT_S = 300
"""How long a Job that is over stays to be looked at."""
TO_BEGIN_S = 3600
"""How long a Job may take to get its Pod up, beyond the longest session."""

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_OURS = {"RUNNER_AUTO_START": "1", "RUNNER_SLOTS": "1"}
_NOT_FOR_ALL = {"DAILY_ROOM_URL", "DAILY_TOKEN"}


class NoTemplate(Exception):  # noqa: N818 - it says what it is
    """The Deployment's template is not one for runners."""


def job_name(session_id: str, attempt: int, number: int) -> str:
    """The name of the `number`th Job, from 1, for this attempt: short enough for its Pods' names to be host names."""
    name = f"cold-{_digest(session_id)}-{attempt}"
    return name if number == 1 else f"{name}-{number}"


def label_value(text: str) -> str:
    """The text itself where a label may have it, otherwise a digest."""
    return text if _LABEL.fullmatch(text) else _digest(text)


def cold_jobs(deployment: str) -> str:
    """The label selector of a Deployment's cold Jobs."""
    return f"{START}=cold,{FLEET}={label_value(deployment)}"


def job_manifest(deployment: Json, session_id: str, attempt: int, *, number: int, max_duration_s: float) -> Json:
    """The Job, complete.

    Raises:
        NoTemplate: the Deployment's template has no container of this name.
    """
    about = deployment["metadata"]
    template = copy.deepcopy(deployment["spec"]["template"])
    labels = {
        START: "cold",
        FLEET: label_value(about["name"]),
        SESSION: label_value(session_id),
        ATTEMPT: str(attempt),
    }
    theirs = template["metadata"].get("labels") or {}
    kept = {name: value for name, value in theirs.items() if name != "pod-template-hash"}
    template["metadata"] = {**template["metadata"], "labels": {**kept, **labels}}
    template["spec"]["restartPolicy"] = "Never"
    _serve_one(template["spec"]["containers"])
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": about["name"], "uid": about["uid"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(session_id, attempt, number),
            "namespace": about["namespace"],
            "labels": labels,
            "ownerReferences": [owner],
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": KEPT_S,
            "activeDeadlineSeconds": math.ceil(max_duration_s) + TO_BEGIN_S,
            "template": template,
        },
    }


def _serve_one(containers: list[Json]) -> None:
    runner = next((container for container in containers if container["name"] == CONTAINER), None)
    if runner is None:
        raise NoTemplate(f"the Deployment's Pod template has no container called {CONTAINER}")
    kept = [one for one in runner.get("env") or [] if one["name"] not in {*_OURS, *_NOT_FOR_ALL}]
    runner["env"] = [*kept, *({"name": name, "value": value} for name, value in _OURS.items())]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]
