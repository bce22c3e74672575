"""`kubectl apply -k k8s/`: accepted by a cluster, and in agreement with the code."""

import base64
import re
from collections import Counter
from pathlib import Path

import kubernetes_validate
import msgspec
import pytest

from services.gateway.settings import GatewaySettings
from services.runner.settings import RunnerSettings
from services.runner.supervisor import HAND_BACK_WITHIN_S
from shared.process.health import _response
from shared.redis import url
from shared.settings import load, variable
from shared.version import VERSION
from tests.deployment.manifests import (
    MINORS,
    NAME,
    SERVICES,
    Manifests,
    Object,
    copy_of_k8s,
    kustomize,
    make_secrets,
    rendered,
)
from tests.processes import ROOT
from tests.test_readme import KINDS
from tests.test_readme import SERVICES as SETTINGS

OUR_OWN_MB = 400
"""Supervisor and zygote with the built-in bot, and room for what is shared."""


@pytest.mark.parametrize("minor", MINORS)
def test_every_object_is_what_the_published_schemas_say(any_rendering: Manifests, minor: str) -> None:
    assert len(any_rendering.objects) > 15
    for one in any_rendering.objects:
        kubernetes_validate.validate(one, minor, strict=True)


def test_no_two_objects_are_the_same(any_rendering: Manifests) -> None:
    names = Counter((one["kind"], one["metadata"]["name"]) for one in any_rendering.objects)
    assert set(names.values()) == {1}


def test_every_label_that_is_selected_by_is_there(any_rendering: Manifests) -> None:
    pods = [template["metadata"]["labels"] for _, template in any_rendering.templates()]
    for one in any_rendering.objects:
        selector = one.get("spec", {}).get("selector", {})
        wanted = selector.get("matchLabels", selector).items()
        assert not wanted or sum(wanted <= labels.items() for labels in pods) == 1, one["metadata"]["name"]


def test_each_variable_is_one_of_the_settings(fleet: Manifests) -> None:
    known = {variable(field.name) for kind in KINDS.values() for field in msgspec.structs.fields(kind)}
    for service, kind in SETTINGS.items():
        environ = fleet.environment(service)
        own = {variable(field.name) for field in msgspec.structs.fields(kind)} | {"REDIS_PASSWORD"}
        assert set(fleet.one("ConfigMap", "settings")["data"]) <= known
        assert {one["name"] for one in fleet.container(service)["env"]} <= own
        load(kind, environ)


def test_the_gateway_is_where_its_service_and_its_probes_look_for_it(any_rendering: Manifests) -> None:
    settings = load(GatewaySettings, any_rendering.environment("gateway"))
    container = any_rendering.container("gateway")
    assert container["ports"] == [{"name": "http", "containerPort": settings.gateway_port}]
    (port,) = any_rendering.one("Service", "gateway")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (settings.gateway_port, "http")
    assert settings.gateway_host == "0.0.0.0"  # noqa: S104 - it is in a Pod
    assert settings.join_keys
    assert settings.admin_keys
    assert not settings.gateway_without_keys


@pytest.mark.parametrize("service", SERVICES)
def test_probes_ask_for_what_is_served(any_rendering: Manifests, service: str) -> None:
    container = any_rendering.container(service)
    (port,) = container["ports"]
    if service != "gateway":
        assert str(port["containerPort"]) == any_rendering.environment(service)["HEALTH_PORT"]
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
        assert _response([path], lambda: True).startswith(b"HTTP/1.1 200")


def test_whoever_drains_is_given_the_time(any_rendering: Manifests) -> None:
    runner = load(RunnerSettings, any_rendering.environment("runner"))
    gateway = load(GatewaySettings, any_rendering.environment("gateway"))
    assert grace(any_rendering, "runner") > runner.drain_grace_s + runner.stop_grace_s + HAND_BACK_WITHIN_S
    pause_s = any_rendering.container("gateway")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert grace(any_rendering, "gateway") > pause_s + gateway.gateway_grace_s


def grace(manifests: Manifests, service: str) -> int:
    return int(manifests.one("Deployment", service)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"])


def test_each_service_is_led_to_redis_as_the_user_of_its_name(any_rendering: Manifests) -> None:
    found = {service: url.parse(any_rendering.environment(service)["REDIS_URL"]) for service in SERVICES}
    assert {name: address.options["username"] for name, address in found.items()} == {name: name for name in SERVICES}
    assert len({address.nodes for address in found.values()}) == 1


def test_each_user_of_redis_has_a_password_of_its_own(fleet: Manifests) -> None:
    (port,) = fleet.one("Service", "redis")["spec"]["ports"]
    secret = fleet.one("Secret", "secrets")["data"]
    passwords = set()
    for service in SERVICES:
        address = url.parse(fleet.environment(service)["REDIS_URL"])
        assert address.nodes == (("redis", port["port"]),)
        assert address.options["password"] == base64.b64decode(secret[f"REDIS_PASSWORD_{service.upper()}"]).decode()
        passwords.add(address.options["password"])
    assert [len(password) for password in passwords] == [48] * len(SERVICES)


def test_secrets_from_before_are_kept_and_only_what_is_missing_is_added(tmp_path: Path) -> None:
    file = tmp_path / "k8s/secrets/secrets.env"
    file.parent.mkdir(parents=True)
    file.write_text("REDIS_PASSWORD=from-before\nJOIN_KEYS=mine\n")
    make_secrets(tmp_path)
    first = file.read_text()
    make_secrets(tmp_path)
    assert file.read_text() == first
    lines = dict(line.split("=", 1) for line in first.splitlines())
    assert (lines["REDIS_PASSWORD"], lines["JOIN_KEYS"]) == ("from-before", "mine")
    assert {f"REDIS_PASSWORD_{name}" for name in ("GATEWAY", "OPERATOR", "RUNNER", "READER")} < lines.keys()
    assert "PAYLOAD_KEYS" not in lines, "runners from before could not open what it seals"


def test_who_sizes_a_deployment_is_not_overruled_by_the_next_apply(any_rendering: Manifests) -> None:
    for service in ("gateway", "runner"):
        assert "replicas" not in any_rendering.one("Deployment", service)["spec"]
    target = any_rendering.one("HorizontalPodAutoscaler", "gateway")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "gateway")
    assert any_rendering.one("ConfigMap", "settings")["data"]["RUNNER_DEPLOYMENT"] == "runner"
    assert any_rendering.one("Deployment", "operator")["spec"]["replicas"] == 2


def test_cold_runners_are_selected_like_warm_ones_and_told_from_them(any_rendering: Manifests) -> None:
    """The operator's Jobs take over the template's labels, with another `pipefleet.dev/start`."""
    spec = any_rendering.one("Deployment", "runner")["spec"]
    assert spec["selector"]["matchLabels"] == {NAME: "runner"}
    assert spec["template"]["metadata"]["labels"]["pipefleet.dev/start"] == "warm"


def admitted(manifests: Manifests, labels: dict[str, str]) -> list[Object]:
    """The ingress rules of all policies for a Pod; there is at least one policy, so all else is refused."""
    policies = [
        policy["spec"]
        for policy in manifests.of("NetworkPolicy")
        if policy["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()
    ]
    assert any("Ingress" in policy["policyTypes"] for policy in policies)
    return [rule for policy in policies for rule in policy.get("ingress", [])]


def test_runners_and_operators_accept_nothing_and_redis_the_fleet_alone(fleet: Manifests) -> None:
    pods = {name: template["metadata"]["labels"] for name, template in fleet.templates()}
    assert admitted(fleet, pods["runner"]) == []
    assert admitted(fleet, {**pods["runner"], "pipefleet.dev/start": "cold"}) == []
    assert admitted(fleet, pods["operator"]) == []
    assert admitted(fleet, pods["gateway"]) == [{"ports": [{"port": "http"}]}]
    (rule,) = admitted(fleet, pods["redis"])
    (only,) = rule["from"][0]["podSelector"]["matchExpressions"]
    assert (only["key"], only["operator"], set(only["values"])) == (NAME, "In", set(SERVICES))
    assert {labels[NAME] for labels in pods.values()} == {*SERVICES, "redis"}


@pytest.mark.parametrize("service", SERVICES)
def test_images_are_those_that_are_built_here(fleet: Manifests, service: str) -> None:
    container = fleet.container(service)
    assert container["image"] == f"pipefleet-{service}:{VERSION}"
    assert "command" not in container
    assert "args" not in container


@pytest.mark.parametrize("service", SERVICES)
def test_each_secret_of_a_service_comes_from_the_secret(any_rendering: Manifests, service: str) -> None:
    names = {variable(field.name) for field in msgspec.structs.fields(KINDS[service])}
    secret = {name for name in names if re.search("_(KEYS?|SECRET)$", name)} - {"GATEWAY_WITHOUT_KEYS"}
    referred = {
        one["name"]: one["valueFrom"]["secretKeyRef"]["key"]
        for one in any_rendering.container(service)["env"]
        if "valueFrom" in one
    }
    assert {name: name for name in secret}.items() <= referred.items()


def test_a_bot_that_eats_memory_ends_before_its_whole_container_does(any_rendering: Manifests) -> None:
    """A kubelet ends every process of a container that exceeds its limit."""
    runner = load(RunnerSettings, any_rendering.environment("runner"))
    limit = mebibytes(any_rendering.container("runner")["resources"]["limits"]["memory"])
    assert runner.session_memory_mb
    assert OUR_OWN_MB + runner.runner_slots * runner.session_memory_mb <= limit


def test_redis_refuses_what_it_has_no_memory_for_before_it_is_killed(fleet: Manifests) -> None:
    """Its append-only file is rewritten by a fork, whose pages are copied as they change."""
    conf = dict(line.split(" ", 1) for line in fleet.one("ConfigMap", "redis")["data"]["valkey.conf"].splitlines()[1:])
    (container,) = fleet.one("StatefulSet", "redis")["spec"]["template"]["spec"]["containers"]
    limit = mebibytes(container["resources"]["limits"]["memory"])
    assert int(conf["maxmemory"].removesuffix("mb")) <= limit * 0.7
    assert conf["maxmemory-policy"] == "noeviction"


def mebibytes(quantity: str) -> int:
    number, unit = quantity[:-2], quantity[-2:]
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]


def test_the_overlays_bring_another_redis_and_another_registry(renderings: dict[str, Manifests]) -> None:
    elsewhere = renderings["k8s/overlays/external-redis"]
    assert not elsewhere.of("StatefulSet")
    for service in SERVICES:
        assert elsewhere.environment(service)["REDIS_URL"] == f"rediss://{service}:word@redis.example.com:6380/0"
    private = renderings["k8s/overlays/private-registry"]
    for service in SERVICES:
        assert private.container(service)["image"].startswith("registry.example.com/")
        assert private.one("Deployment", service)["spec"]["template"]["spec"]["imagePullSecrets"]
    assert private.environment("runner")["OPENAI_API_KEY"] == "sk"
    assert "OPENAI_API_KEY" not in private.environment("gateway")


def test_runners_are_told_no_key_of_the_gateway(any_rendering: Manifests) -> None:
    assert not {"JOIN_KEYS", "ADMIN_KEYS"} & any_rendering.environment("runner").keys()


@pytest.mark.parametrize(
    ("file", "line"), [("fleet/settings.env", "LEASE=30\n"), ("secrets/secrets.env", "ADMIN_KEYS_OF_OLD=x\n")]
)
def test_a_changed_setting_or_secret_rolls_the_pods(tmp_path: Path, file: str, line: str) -> None:
    folder = copy_of_k8s(tmp_path) / "k8s"
    before = dict(rendered(folder).templates())
    with (folder / file).open("a") as settings:
        settings.write(line)
    after = dict(rendered(folder).templates())
    assert all(before[service] != after[service] for service in SERVICES)


def test_without_secrets_nothing_is_applied_and_the_missing_file_is_named(tmp_path: Path) -> None:
    folder = copy_of_k8s(tmp_path) / "k8s"
    (folder / "secrets/secrets.env").unlink()
    result = kustomize(folder)
    assert (result.returncode, result.stdout) == (1, "")
    assert "secrets/secrets.env: no such file" in result.stderr


def test_secrets_are_made_once_readable_by_their_owner_alone_and_never_committed(tmp_path: Path) -> None:
    secrets = copy_of_k8s(tmp_path) / "k8s/secrets/secrets.env"
    made = secrets.read_text()
    make_secrets(tmp_path)
    assert secrets.read_text() == made
    assert secrets.stat().st_mode & 0o077 == 0
    assert "k8s/**/secrets.env" in (ROOT / ".gitignore").read_text().splitlines()
