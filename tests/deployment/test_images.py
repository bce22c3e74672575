"""The Dockerfiles: linted, alike, in agreement with the code; and what they install really starts."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from shared.version import VERSION
from tests.deployment.dockerfiles import Built, build, stages
from tests.deployment.manifests import SERVICES, Manifests
from tests.processes import ROOT, Children, free_port
from tests.waiting import until

HADOLINT = str(Path(sys.executable).parent / "hadolint")
KEY = "a-key-of-this-test-alone"
PORTS = {"gateway": "GATEWAY_PORT", "operator": "HEALTH_PORT", "runner": "HEALTH_PORT"}
FOREIGN = {
    "gateway": {"pipecat", "kubernetes", "numpy"},
    "operator": {"pipecat", "litestar", "numpy"},
    "runner": {"kubernetes", "litestar"},
}


@pytest.mark.parametrize("service", SERVICES)
def test_the_linter_has_nothing_against_a_dockerfile(service: str) -> None:
    command = [HADOLINT, "--no-color", str(ROOT / "services" / service / "Dockerfile")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_what_its_service_needs_and_runs_it_without_root(service: str) -> None:
    first, final = stages(service)
    assert first.base == "python:${PYTHON}-slim AS build"
    assert final.base == "python:${PYTHON}-slim"
    assert final.of("COPY") == [
        f"--from=build /app/{part} {part}" for part in (".venv", "shared", "services", "pipefleet")
    ]
    assert not final.of("RUN")
    assert not final.of("ADD") + first.of("ADD")
    assert final.of("USER") == ["65532:65532"]
    assert final.command == ["python", "-m", f"services.{service}"]
    assert (ROOT / "services" / service / "__main__.py").is_file()
    assert final.env["PYTHONDONTWRITEBYTECODE"] == "1"
    assert final.labels["org.opencontainers.image.title"] == f"pipefleet-{service}"
    assert final.labels["org.opencontainers.image.version"] == VERSION


def test_the_readme_builds_a_bot_on_the_image_that_is_built_here() -> None:
    assert f"\nFROM pipefleet-runner:{VERSION}\n" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("service", SERVICES)
def test_ports_users_and_healthchecks_are_those_of_the_manifests(fleet: Manifests, service: str) -> None:
    final = stages(service)[1]
    container = fleet.container(service)
    port = str(container["ports"][0]["containerPort"])
    assert final.of("EXPOSE") == [port]
    assert final.env[PORTS[service]] == port
    assert container["livenessProbe"]["httpGet"]["path"] in final.healthcheck[-1]
    pod = fleet.one("Deployment", service)["spec"]["template"]["spec"]["securityContext"]
    assert final.of("USER") == [f"{pod['runAsUser']}:{pod['runAsGroup']}"]
    assert final.env["HOME"] in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_nothing_comes_into_an_image_but_code_and_the_lock_file() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line for line in lines if line.startswith("!")}
    assert let_in == {"!pyproject.toml", "!uv.lock", "!requirements-uv.txt", "!shared", "!services", "!pipefleet"}


async def use(http: httpx.AsyncClient) -> None:
    """The pages with their scripts, and a session, for which the scripts of `shared` are needed."""
    for path in ("/", "/console/console.js", "/client/", "/client/local_media.js"):
        assert (await http.get(path)).status_code == 200
    joined = await http.post("/join", json={"transport": "none"}, headers={"Authorization": f"Bearer {KEY}"})
    assert joined.status_code == 202


async def start_and_stop(children: Children, built: Built, service: str) -> None:
    """Run the image's command until it is ready, and end it; the image's healthcheck must know both."""
    final = stages(service)[1]
    port = str(free_port())
    env = {**built.env, "HOME": "/nonexistent", PORTS[service]: port, "ADMIN_KEYS": KEY, "LAUNCHER": "none"}
    python = str(built.folder / ".venv/bin/python")
    child = children.start(service, ["env", "-C", str(built.folder), python, *final.command[1:]], (), **env)

    def healthy() -> bool:
        command = [python, *final.healthcheck[1:]]
        return subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0

    async def serves() -> bool:
        assert child.exit_code is None, child.output()
        return healthy()

    await until(serves)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

        async def ready() -> bool:
            return (await http.get("/readyz")).status_code == 200

        await until(ready)
        if service == "gateway":
            await use(http)
    child.terminate()
    assert await child.wait() == 0, child.output()
    assert not healthy()


@pytest.mark.parametrize(
    "service", ["gateway", *(pytest.param(name, marks=pytest.mark.slow) for name in ("operator", "runner"))]
)
async def test_what_a_dockerfile_installs_is_enough_to_start_and_no_more(
    service: str, children: Children, tmp_path: Path, tell: Callable[..., None]
) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    built = build(service, folder)
    await start_and_stop(children, built, service)
    for name in FOREIGN[service]:
        assert built.python(f"import importlib.util as u; print(u.find_spec({name!r}))") == "None"
    assert {path.name for path in (folder / "services").iterdir()} - {"__pycache__"} == {service}
    sources = [path for path in (folder / "services").rglob("*.py") if path.name != "__init__.py"]
    assert all(list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc")) for path in sources)
    looked_for = (
        "from pipefleet import doctor, set_up; print([one for one in doctor.SERVICES if set_up.installed(one)])"
    )
    found = built.python(looked_for)
    assert found == str([service])
    began = time.monotonic()
    built.python(f"import services.{service}.__main__")
    import_s = time.monotonic() - began
    size_mb = sum(path.lstat().st_size for path in folder.rglob("*")) / 1e6
    tell(f"  {service:10}{size_mb:6.0f} MB beyond the base, imported in {import_s:.2f} s", under="Images:")
    shutil.rmtree(folder)
