"""The manifests as `kubectl apply -k` would send them, and what a cluster would make of them."""

import base64
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.machine import need
from tests.processes import ROOT

KUBECTL = str(Path(sys.executable).parent / "kubectl")
ROOTS = ("k8s", "k8s/overlays/external-redis", "k8s/overlays/private-registry")
SERVICES = ("gateway", "operator", "runner")
NAME = "app.kubernetes.io/name"
MINORS = ("1.35", "1.36", "1.37")
"""The last minor versions of Kubernetes, whose published schemas objects are held to."""
WITH_PODS = {"Deployment", "StatefulSet"}

Object = dict[str, Any]


def copy_of_k8s(folder: Path, **more_secrets: str) -> Path:
    """The folder as somebody has it who has followed the README, with secrets of its own."""
    shutil.copytree(ROOT / "k8s", folder / "k8s", ignore=shutil.ignore_patterns("secrets.env"))
    make_secrets(folder)
    with (folder / "k8s/secrets/secrets.env").open("a") as secrets:
        secrets.writelines(f"{name}={value}\n" for name, value in more_secrets.items())
    return folder


def make_secrets(folder: Path) -> None:
    """As `make k8s-secrets` does it, in the folder where `k8s` is."""
    command = [need("make"), "-sf", str(ROOT / "Makefile"), "k8s-secrets"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Manifests:
    """All objects of one rendering."""

    objects: list[Object]

    def one(self, kind: str, name: str) -> Object:
        """The object of this kind whose name is this, or this with a generated suffix."""
        generated = rf"{name}(-[a-z0-9]{{10}})?"
        (found,) = [one for one in self.of(kind) if re.fullmatch(generated, one["metadata"]["name"])]
        return found

    def of(self, kind: str) -> list[Object]:
        return [one for one in self.objects if one["kind"] == kind]

    def templates(self) -> Iterator[tuple[str, Object]]:
        """The Pod templates, with the names of what they are in."""
        for one in self.objects:
            if one["kind"] in WITH_PODS:
                yield one["metadata"]["name"], one["spec"]["template"]

    def container(self, service: str) -> Object:
        """The only container of a service's Pods."""
        (container,) = self.one("Deployment", service)["spec"]["template"]["spec"]["containers"]
        assert container["name"] == service
        return dict(container)

    def environment(self, service: str) -> dict[str, str]:
        """A container's variables as a kubelet makes them: in order, with `$(NAME)` of those that came before."""
        container = self.container(service)
        environ: dict[str, str] = {}
        for source in container.get("envFrom", []):
            environ |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in container["env"]:
            value = variable["value"] if "value" in variable else self._referred(variable["valueFrom"]["secretKeyRef"])
            if value is not None:
                environ[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda it: environ.get(it[1], it[0]), value)
        return environ

    def _referred(self, reference: Object) -> str | None:
        data = self.one("Secret", reference["name"])["data"]
        if reference.get("optional") and reference["key"] not in data:
            return None
        return base64.b64decode(data[reference["key"]]).decode()


def rendered(folder: Path) -> Manifests:
    """What a kustomization gives, without a complaint."""
    result = kustomize(folder)
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    return Manifests(list(yaml.safe_load_all(result.stdout)))
