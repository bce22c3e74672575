"""`compose.yaml`: what the compose specification allows, and in agreement with images and code."""

import re
from typing import Any, cast

import compose_spec
import pytest
import yaml

from services.gateway.settings import GatewaySettings
from services.operator.settings import OperatorSettings
from services.runner.settings import RunnerSettings
from services.runner.supervisor import HAND_BACK_WITHIN_S
from shared.redis import url
from shared.settings import load, variable
from shared.version import VERSION
from tests.deployment.dockerfiles import stages
from tests.deployment.manifests import SERVICES, Manifests
from tests.processes import ROOT
from tests.test_readme import SERVICES as KINDS

FILE = (ROOT / "compose.yaml").read_text()


def interpolated(value: Any, env: dict[str, str]) -> Any:
    """With the variables of whoever says `docker compose up`, and the defaults of those that are not set."""
    if isinstance(value, dict):
        return {name: interpolated(one, env) for name, one in value.items()}
    if isinstance(value, list):
        return [interpolated(one, env) for one in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: env.get(found[1]) or found[2], value)
    return value


def whole(**env: str) -> dict[str, Any]:
    """The file, with what the services have in common merged in."""
    return cast("dict[str, Any]", interpolated(yaml.safe_load(FILE), env))


def compose(**env: str) -> dict[str, Any]:
    """The services."""
    return cast("dict[str, Any]", whole(**env)["services"])


def environment(service: str, **env: str) -> dict[str, str]:
    """A container's variables: the image's, and those of the file."""
    given = compose(**env)[service]["environment"]
    # One without a value is passed on, if whoever says `docker compose up` has it.
    ours = {name: env.get(name) if value is None else str(value) for name, value in given.items()}
    return {**stages(service)[1].env, **{name: value for name, value in ours.items() if value is not None}}


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


def test_the_file_is_what_the_specification_allows() -> None:
    parsed = compose_spec.PyCompose.from_yaml(yaml.safe_dump(whole()))
    parsed.validate()
    assert set(parsed.service_names()) == {"redis", "coturn", *SERVICES}
    with pytest.raises(ValueError, match="read_onlyy"):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(whole()).replace("read_only", "read_onlyy"))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_built_from_its_dockerfile_and_called_as_in_the_manifests(service: str) -> None:
    one = compose()[service]
    assert one["build"] == {"context": ".", "dockerfile": f"services/{service}/Dockerfile"}
    assert one["image"] == f"pipefleet-{service}:{VERSION}"
    assert "container_name" not in one
    assert "command" not in one
    assert one["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert (one["read_only"], one["cap_drop"], one["tmpfs"]) == (True, ["ALL"], ["/tmp"])


@pytest.mark.parametrize("service", SERVICES)
def test_each_variable_is_one_of_the_settings_and_has_a_value_that_is_taken(service: str) -> None:
    kind = KINDS[service]
    settings = load(kind, environment(service))
    assert {variable(name) for name in kind.__struct_fields__} >= set(compose()[service]["environment"])
    assert url.parse(settings.redis_url).nodes == (("redis", 6379),)


def test_everything_is_published_to_this_machine_alone() -> None:
    published = {name: one["ports"] for name, one in compose().items() if "ports" in one}
    assert published.keys() == {"gateway", "coturn"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_the_page_needs_no_key_unless_there_are_some() -> None:
    gateway = load(GatewaySettings, environment("gateway"))
    assert gateway.gateway_without_keys
    assert gateway.join_keys + gateway.admin_keys == ()
    assert compose()["gateway"]["ports"] == [f"127.0.0.1:4444:{gateway.gateway_port}"]
    assert load(GatewaySettings, environment("gateway", JOIN_KEYS="a,b")).join_keys == ("a", "b")


def test_the_operator_has_no_cold_capacity() -> None:
    assert load(OperatorSettings, environment("operator")).launcher == "none"


def test_calls_are_finished_before_containers_are_killed() -> None:
    runner = load(RunnerSettings, environment("runner"))
    longest_s = runner.drain_grace_s + runner.stop_grace_s + HAND_BACK_WITHIN_S
    assert seconds(compose()["runner"]["stop_grace_period"]) > longest_s
    gateway = load(GatewaySettings, environment("gateway"))
    assert seconds(compose()["gateway"]["stop_grace_period"]) > gateway.gateway_grace_s


@pytest.mark.parametrize("service", SERVICES)
def test_all_services_know_the_bots_and_an_image_keeps_its_own(service: str) -> None:
    assert environment(service, BOTS="sales=sales.py")["BOTS"] == "sales=sales.py"
    assert environment(service).get("BOT") == stages(service)[1].env.get("BOT")


@pytest.mark.parametrize("env", [{}, {"TURN_SECRET": "another"}])
def test_clients_are_sent_to_the_turn_server_of_the_file_with_its_secret(env: dict[str, str]) -> None:
    gateway = load(GatewaySettings, environment("gateway", **env))
    options = dict(option[2:].partition("=")[::2] for option in compose(**env)["coturn"]["command"])
    port = options["listening-port"]
    assert gateway.ice_servers == (f"turn:127.0.0.1:{port}",)
    assert f"127.0.0.1:{port}:{port}/udp" in compose()["coturn"]["ports"]
    assert gateway.turn_secret == options["static-auth-secret"]
    assert "use-auth-secret" in options


def test_redis_is_the_same_in_compose_and_in_the_manifests_and_keeps_what_it_accepted(fleet: Manifests) -> None:
    redis = compose()["redis"]
    (container,) = fleet.one("StatefulSet", "redis")["spec"]["template"]["spec"]["containers"]
    assert redis["image"] == container["image"]
    conf = fleet.one("ConfigMap", "redis")["data"]["valkey.conf"]
    for setting in ("appendonly yes", "appendfsync always", "maxmemory-policy noeviction"):
        assert setting in conf.splitlines()
        assert f"--{setting}" in " ".join(redis["command"])
    assert redis["volumes"] == ["redis:/data"]
