"""Set-ups that are broken in one way each, and really so: the doctor finds each of them and says what to do."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipefleet.redis_visit import visit
from services.operator.set_up import NEEDED
from shared.contract import CLAIMS, LAUNCH
from shared.findings import Finding
from shared.launches import Launches
from shared.redis.connection import Redis, connect
from shared.redis.streams import read_group
from shared.settings import FleetSettings
from tests.fakes.daily_api import KEY, fake_daily
from tests.fakes.kubernetes_api.cluster import Cluster, running_cluster
from tests.launching import SCRIPTED, offer
from tests.operator.kubernetes.ground import ACCOUNT, deployment, rbac
from tests.pipefleet.conftest import Pipefleet, Result
from tests.processes import Children, Fleet, free_port
from tests.redis_server import EMBEDDED, RedisServer
from tests.waiting import until

KEEPS_ALL = ("--appendonly", "yes", "--appendfsync", "always")


@contextmanager
def running(folder: Path, *options: str) -> Iterator[RedisServer]:
    folder.mkdir()
    server = RedisServer(EMBEDDED, folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


async def seen(url: str, **settings: Any) -> dict[str, Finding]:
    """What is not as it should be, but for the runners that none of these has."""
    found = await visit(FleetSettings(redis_url=url, **settings))
    return {one.check: one for one in found if one.status != "ok" and one.check != "runners"}


@pytest.mark.parametrize(
    ("options", "check", "status", "remedy"),
    [
        (KEEPS_ALL, None, "", ""),
        ((), "redis persistence", "fail", "appendonly yes"),
        (("--appendonly", "yes"), "redis persistence", "warn", "appendfsync always"),
        (
            (*KEEPS_ALL, "--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"),
            "redis eviction",
            "fail",
            "noeviction",
        ),
        ((*KEEPS_ALL, "--maxmemory", "1mb"), "redis memory", "fail", "more memory"),
        ((*KEEPS_ALL, "--requirepass", "p"), "redis", "fail", "password"),
        ((*KEEPS_ALL, "--replicaof", "127.0.0.1 1"), "redis replicas", "fail", "Point REDIS_URL at the primary"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_server_that_is_set_up_wrongly_is_found(
    tmp_path: Path, options: tuple[str, ...], check: str | None, status: str, remedy: str
) -> None:
    with running(tmp_path / "redis", *options) as server:
        found = await seen(server.url)
        if check is None:
            assert found == {}
            return
        assert found[check].status == status
        assert remedy in found[check].remedy


async def test_a_user_who_may_run_no_script_or_not_look_at_the_server_is_found(tmp_path: Path) -> None:
    with running(tmp_path / "redis", *KEEPS_ALL) as server, server.client() as client:
        settings: Any = client
        settings.execute_command("ACL SETUSER default -info")
        hidden = await seen(server.url)
        assert (hidden["redis"].status, hidden["redis"].found) == ("warn", "it does not tell how it is set up")
        settings.execute_command("ACL SETUSER default -evalsha")
        assert "Allow EVALSHA and SCRIPT LOAD" in (await seen(server.url))["scripts"].remedy


async def test_a_server_that_is_away_or_has_another_password_is_found(tmp_path: Path) -> None:
    away = await seen(f"unix://{tmp_path}/nobody")
    assert "Start Redis" in away["redis"].remedy
    port = free_port()
    with running(tmp_path / "redis", "--port", str(port), "--requirepass", "right"):
        wrong = await seen(f"redis://:wrong@127.0.0.1:{port}")
        assert "percent-encoded" in wrong["redis"].remedy
        assert "wrong" not in f"{wrong['redis'].found}".replace("WRONGPASS", "")


async def test_a_node_of_a_cluster_that_has_another_slot_is_found(tmp_path: Path) -> None:
    port, bus = free_port(), free_port()
    clustered = (*KEEPS_ALL, "--cluster-enabled", "yes")
    with (
        running(tmp_path / "one", *clustered, "--port", str(free_port()), "--cluster-port", str(free_port())) as server,
        running(tmp_path / "other", *clustered, "--port", str(port), "--cluster-port", str(bus)) as with_the_slot,
        server.client() as one,
        with_the_slot.client() as other,
    ):
        found = await seen(server.url)
        assert "none can be run" in found["scripts"].found  # no node has the slot yet
        nodes: tuple[Any, Any] = (one, other)
        nodes[1].execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", port, bus)
        await until(lambda: all(node.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for node in nodes))
        assert "scripts" not in await seen(with_the_slot.url)
        assert (await seen(server.url))["scripts"].found == f"the keys with {{bot}} are at 127.0.0.1:{port}"


async def test_leases_that_nobody_frees_are_found(redis: Redis, redis_url: str) -> None:
    await Launches(redis).ensure_group(CLAIMS)
    await offer(redis)
    await read_group(redis, CLAIMS, "a-runner-that-is-gone", {LAUNCH: ">"})
    found = await until(lambda: _stale(redis_url))
    assert "Start an operator or a runner" in found.remedy


async def _stale(url: str) -> Finding | None:
    return (await seen(url, lease_s=0.02)).get("leases")


def findings(result: Result) -> dict[str, dict[str, str]]:
    """What a command found that is not as it should be."""
    assert result.out, result.error
    return {one["check"]: one for one in result.json["findings"] if one["status"] != "ok"}


async def test_a_bot_that_does_not_import_keys_that_lack_and_a_key_that_daily_refuses_are_found_at_once(
    pipefleet: Pipefleet, redis_url: str
) -> None:
    async with fake_daily() as daily:
        broken = {
            "REDIS_URL": redis_url,
            "BOT": "tests/bots/broken.py",
            "BOTS": f"fine={SCRIPTED}",
            "GATEWAY_HOST": "0.0.0.0",  # noqa: S104
            "LEASE": "soon",
            "DAILY_API_URL": daily.url,
            "DAILY_API_KEY": "the-wrong-secret",
            "PIPEFLEET_URL": "http://127.0.0.1:1",
        }
        first, second = await asyncio.gather(
            pipefleet("doctor", "--json", **{**broken, "LEASE": ""}), pipefleet("doctor", "gateway", "--json", **broken)
        )
        right = await pipefleet("doctor", "gateway", **{**broken, "LEASE": "", "DAILY_API_KEY": KEY})
    assert (first.code, second.code) == (1, 1)
    found = findings(first)
    assert "Mend the bot, or point BOT" in found["bot"]["remedy"]
    assert "bot fine" not in found
    assert "without keys the gateway listens on loopback only" in found["gateway settings"]["found"]
    assert "DAILY_API_KEY" in found["daily"]["remedy"]
    assert "Start one" in found["runners"]["remedy"]
    assert "point PIPEFLEET_URL at it" in found["gateway"]["remedy"]
    assert "LEASE: expected a number, got 'soon'" in findings(second)["settings"]["found"]
    assert "the key is that of example" in right.out
    assert "the-wrong-secret" not in first.out + first.error + second.out


@pytest.fixture
async def cluster(children: Children) -> AsyncIterator[Cluster]:
    async with running_cluster(children) as cluster:
        yield cluster


async def test_a_role_that_lacks_a_verb_and_a_deployment_that_is_not_there_are_found(
    pipefleet: Pipefleet, redis_url: str, cluster: Cluster, tmp_path: Path
) -> None:
    kubeconfig = str(cluster.kubeconfig(tmp_path / "kubeconfig", service_account=ACCOUNT))
    env = {"REDIS_URL": redis_url, "LAUNCHER": "kubernetes", "KUBECONFIG": kubeconfig}
    account, role, binding = rbac()
    without_jobs = {**role, "rules": [rule for rule in role["rules"] if "jobs" not in rule["resources"]]}
    cluster.apply(account, without_jobs, binding)
    found = findings(await pipefleet("doctor", "operator", "--json", **env))["kubernetes"]
    assert found["found"].endswith("it may not list jobs, watch jobs, create jobs, delete jobs")
    assert "k8s/fleet/operator.yaml" in found["remedy"]

    cluster.apply(role)
    missing = findings(await pipefleet("doctor", "operator", "--json", **env))
    assert "kubernetes" not in missing
    assert "RUNNER_DEPLOYMENT" in missing["runner deployment"]["remedy"]

    cluster.apply(deployment())
    assert {"kubernetes", "runner deployment"}.isdisjoint(
        findings(await pipefleet("doctor", "operator", "--json", **env))
    )
    nowhere = findings(await pipefleet("doctor", "operator", "--json", **{**env, "KUBECONFIG": "/nonexistent"}))
    assert "KUBECONFIG" in nowhere["kubernetes"]["remedy"]


def test_what_is_asked_for_is_what_the_role_in_the_manifests_gives() -> None:
    given = {
        (verb, group, resource, bool(rule.get("resourceNames")))
        for rule in rbac()[1]["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    asked = {
        (verb, one.group, f"{one.resource}/{one.subresource}".removesuffix("/"), one.named)
        for one in NEEDED
        for verb in one.verbs
    }
    assert asked == given


async def test_nothing_is_wrong_with_a_fleet_that_works_and_its_gateway_says_whose_key_is_another(
    children: Children, pipefleet: Pipefleet, tmp_path: Path
) -> None:
    with running(tmp_path / "redis", *KEEPS_ALL) as server:
        env = {"REDIS_URL": server.url, "BOT": str(SCRIPTED), "ADMIN_KEYS": "right"}
        async with connect(server.url) as redis:
            fleet = Fleet(children, redis, env)
            fleet.http.headers["Authorization"] = "Bearer right"
            fleet.add_runner()
            await fleet.until_free(1)
            url = str(fleet.http.base_url).rstrip("/")
            well, wrong = await asyncio.gather(
                pipefleet("doctor", **env, PIPEFLEET_URL=url, PIPEFLEET_KEY="right"),
                pipefleet("doctor", "gateway", "--json", **env, PIPEFLEET_URL=url, PIPEFLEET_KEY="other"),
            )
            await fleet.aclose()
        assert (well.code, well.error) == (0, ""), well.out
        assert {line.split()[0] for line in well.out.splitlines()} == {"ok"}
        assert "ADMIN_KEYS" in findings(wrong)["gateway"]["remedy"]
        await children.stop()


async def test_a_setting_of_daily_that_no_request_could_carry_is_a_finding_beside_the_others(
    pipefleet: Pipefleet,
) -> None:
    """It ended the doctor with a word about the gateway's address."""
    env = {"DAILY_API_URL": "api.daily.co/v1", "DAILY_API_KEY": KEY, "PIPEFLEET_URL": "http://127.0.0.1:1"}
    result = await pipefleet("doctor", "gateway", "--json", **env)
    found = {one["check"]: one for one in result.json["findings"]}
    assert (result.code, found["daily"]["status"], found["gateway"]["status"]) == (1, "fail", "fail")
    assert "the API's address begins with http:// or https://" in found["daily"]["found"]
    assert "DAILY_API_URL" in found["daily"]["remedy"]
