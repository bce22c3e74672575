"""What keeps a cold runner from coming up is told on its session in seconds, and a good one still comes."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.contract import ColdStart, Ended, Running, Starting, session_key
from shared.events import decode
from shared.launches import Launches
from shared.redis import streams
from tests.fakes.kubernetes_api.cluster import Cluster
from tests.fakes.kubernetes_api.resources import DEPLOYMENTS, JOBS
from tests.operator.kubernetes.ground import Ground, deployment, rbac, unfinished
from tests.processes import session_event
from tests.waiting import until

TOLD_WITHIN_S = 5.0
Lift = Callable[[], object]


async def trouble(ground: Ground, session_id: str, within_s: float = TOLD_WITHIN_S) -> ColdStart:
    """The first event of a session that says what is wrong."""

    async def found() -> ColdStart | None:
        entries = await streams.between(ground.redis, session_key(session_id))
        events = [event for _, event in decode(entries)]
        return next((event for event in events if isinstance(event, ColdStart) and event.error), None)

    told: ColdStart = await until(found, within_s)
    return told


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def an_image_that_is_not_there(cluster: Cluster) -> Lift:
    return cluster.trouble("image").release


def a_secret_that_is_not_there(cluster: Cluster) -> Lift:
    return cluster.trouble("config", message='secret "bot" not found').release


def no_node(cluster: Cluster) -> Lift:
    return cluster.trouble("unschedulable").release


def a_crash(cluster: Cluster) -> Lift:
    return cluster.trouble("crash", exit_code=3).release


def an_end_for_its_memory(cluster: Cluster) -> Lift:
    return cluster.trouble("oom").release


def a_quota_of_pods(cluster: Cluster) -> Lift:
    cluster.quota(pods=0)
    return cluster.quota


def a_quota_of_jobs(cluster: Cluster) -> Lift:
    cluster.quota("quota", **{"count/jobs.batch": 0})
    return cluster.quota


# Of those that differ only in what the API says, which `test_pod_states` has, one is enough in a hurry.
@pytest.mark.parametrize(
    ("order", "reasons", "text"),
    [
        (an_image_that_is_not_there, {"ErrImagePull", "ImagePullBackOff"}, "pull access denied"),
        slow(a_secret_that_is_not_there, {"CreateContainerConfigError"}, 'secret "bot" not found'),
        slow(no_node, {"Unschedulable"}, "0/3 nodes are available"),
        (a_crash, {"Error"}, "exited with code 3"),
        slow(an_end_for_its_memory, {"OOMKilled"}, "exited with code 137"),
        (a_quota_of_pods, {"FailedCreate"}, "exceeded quota"),
        slow(a_quota_of_jobs, {"Forbidden"}, "exceeded quota"),
    ],
)
async def test_what_is_wrong_is_told_on_the_session_and_a_good_job_comes_after_it(
    ground: Ground, order: Callable[[Cluster], Lift], reasons: set[str], text: str
) -> None:
    lift = order(ground.cluster)
    operator = ground.operator()
    await operator.said("operator_started")
    launch = await ground.offer("return")
    event = await trouble(ground, launch.session_id)
    assert event.reason in reasons
    assert text in event.error
    lift()
    assert (await session_event(ground.redis, launch.session_id, Starting)).start == "cold"
    await session_event(ground.redis, launch.session_id, Ended)
    await ground.cluster.until(lambda: not unfinished(ground.cluster))


async def test_a_launch_whose_job_does_not_come_up_may_still_be_taken_by_a_warm_runner(ground: Ground) -> None:
    ground.cluster.trouble("unschedulable", pods=9)
    ground.operator()
    launch = await ground.offer("return")
    await trouble(ground, launch.session_id)
    ground.warm_runner(1)
    assert (await session_event(ground.redis, launch.session_id, Starting)).start == "warm"
    await ground.cluster.until(lambda: not ground.cluster.jobs())


async def test_a_job_that_is_not_needed_any_more_is_deleted_before_its_pod_starts(ground: Ground) -> None:
    ground.cluster.trouble("slow", pods=9, seconds=60)
    ground.operator()
    launches = [await ground.offer(), await ground.offer("return")]
    await ground.cluster.until(lambda: len(ground.cluster.jobs()) == 2)
    assert await Launches(ground.redis).depth() == 2
    ground.warm_runner(1)
    await session_event(ground.redis, launches[0].session_id, Running)
    await ground.cluster.until(lambda: len(ground.cluster.jobs()) == 1)
    [left] = unfinished(ground.cluster)
    assert left in ground.created()
    await ground.leave(launches[0])
    await session_event(ground.redis, launches[1].session_id, Ended)
    await ground.cluster.until(lambda: not ground.cluster.jobs())
    assert len(ground.created()) == 2


@pytest.mark.slow
async def test_replacements_are_bounded_and_the_last_job_is_left_to_come_up(ground: Ground) -> None:
    order = ground.cluster.trouble("image", pods=99)
    operator = ground.operator()
    launch = await ground.offer("return")
    await operator.said("cold_start_given_up", within_s=30)
    assert len(ground.created()) == 5
    await ground.cluster.until(lambda: len(unfinished(ground.cluster)) == 1)
    assert 1 <= len([event for event in await ground.told(launch) if event.error]) <= 10
    order.release()
    await session_event(ground.redis, launch.session_id, Ended)


@pytest.mark.slow
async def test_a_refusal_is_reported_once_with_the_servers_words(ground: Ground) -> None:
    """Nobody may create Jobs; after some tries the operator is allowed to."""
    role = next(one for one in rbac() if one["kind"] == "Role")
    rules = [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != "create"]} for rule in role["rules"]]
    ground.cluster.apply({**role, "rules": rules})
    operator = ground.operator()
    launch = await ground.offer("return")
    await operator.said("cold_start_failed")
    refused = "cannot create resource"

    def tries() -> int:
        return sum((one.verb, one.status) == ("create", 403) for one in ground.cluster.requests)

    await until(lambda: tries() >= 2)
    assert [refused in event.error for event in await ground.told(launch)] == [True]
    assert operator.output().count(refused) == 1
    ground.cluster.apply(role)
    await session_event(ground.redis, launch.session_id, Ended)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            lambda cluster: cluster.fail_next(2, 503, verb="create", kind="jobs"),
            marks=pytest.mark.slow,
            id="an error of the server",
        ),
        pytest.param(
            lambda cluster: cluster.fail_next(1, 409, verb="create", kind="jobs"),
            marks=pytest.mark.slow,
            id="a quota that many write to at once",
        ),
        pytest.param(
            lambda cluster: cluster.cut_next(1, verb="create", kind="jobs"), marks=pytest.mark.slow, id="a lost request"
        ),
        pytest.param(lambda cluster: cluster.cut_next(1, verb="create", kind="jobs", when="after"), id="a lost answer"),
    ],
)
async def test_what_may_pass_is_tried_again_and_makes_one_job(
    ground: Ground, fault: Callable[[Cluster], object]
) -> None:
    fault(ground.cluster)
    ground.operator()
    launch = await ground.offer("return")
    await session_event(ground.redis, launch.session_id, Ended)
    made = {(job["metadata"]["name"], job["metadata"]["uid"]) for job in ground.cluster.jobs()}
    assert len(made) == 1


@pytest.mark.slow
async def test_too_many_requests_are_not_repeated_before_the_server_says(ground: Ground) -> None:
    ground.cluster.fail_next(1, 429, verb="create", kind="jobs", retry_after_s=3)
    ground.operator()
    launch = await ground.offer("return")
    await session_event(ground.redis, launch.session_id, Ended)
    first, second = (one.at for one in ground.cluster.requests if (one.verb, one.kind) == ("create", "jobs"))
    assert second - first >= 3


@pytest.mark.slow
async def test_a_launch_of_a_fleet_without_its_deployment_waits_for_it(ground: Ground) -> None:
    ground.cluster.delete(DEPLOYMENTS, "runner")
    ground.operator()
    launch = await ground.offer("return")
    ground.cluster.apply(deployment())
    await session_event(ground.redis, launch.session_id, Ended)


@pytest.mark.slow
async def test_a_job_that_somebody_deletes_is_made_again(ground: Ground) -> None:
    order = ground.cluster.trouble("slow", seconds=600)
    ground.operator()
    launch = await ground.offer("return")
    [job] = await ground.cluster.until(ground.cluster.jobs)
    await ground.cluster.until(lambda: order.pods == 0)
    ground.cluster.delete(JOBS, job["metadata"]["name"])
    await session_event(ground.redis, launch.session_id, Ended)
