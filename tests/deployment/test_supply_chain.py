"""What the fleet is made of: pinned by hash, audited, listed, and under licences that somebody has looked at."""

import os
import re
import subprocess
import tomllib
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.deployment.dockerfiles import uv
from tests.deployment.manifests import SERVICES
from tests.fakes.osv import osv
from tests.processes import ROOT

PERMISSIVE = {
    *("MIT", "MIT License", "MIT-0", "MIT-CMU", "ISC", "ISC License (ISCL)", "Zlib", "0BSD", "CC0-1.0"),
    *("BSD", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "BSD 2-Clause License", "3-Clause BSD License"),
    *("Apache", "Apache-2.0", "Apache Software License", "LLVM-exception"),
    *("PSF-2.0", "Python Software Foundation License"),
}
"""Licences that ask for no more than to be named, as packages write them."""
LOOKED_AT = {
    "certifi": "MPL-2.0",
    "espeakng-loader": "GPL-3.0-or-later",
    "num2words": "LGPL",
    "soxr": "LGPL-2.1-or-later",
}
"""Those with conditions for who passes them on; docs/supply-chain.md says which."""


def locked() -> dict[str, dict[str, Any]]:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return {package["name"]: package for package in packages}


@cache
def in_image(service: str) -> frozenset[str]:
    """The names of what an image of a service holds, on the machine that this is."""
    command = [
        uv(),
        "export",
        "--frozen",
        "--quiet",
        "--no-default-groups",
        "--no-hashes",
        "--no-annotate",
        "--no-header",
    ]
    result = subprocess.run(
        [*command, "--package", f"pipefleet-{service}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return frozenset(re.findall(r"^([\w.-]+)==", result.stdout, re.MULTILINE))


def licence(package: Distribution) -> str:
    """As the package itself says it, in the field that its age has it in."""
    said = package.metadata
    if "License-Expression" in said:
        return said["License-Expression"]
    osi = "License :: OSI Approved :: "
    classified = [line.removeprefix(osi) for line in said.get_all("Classifier", []) if line.startswith(osi)]
    return " OR ".join(classified) or (said["License"].partition("\n")[0] if "License" in said else "")


def permissive(expression: str) -> bool:
    """Whether every licence that an expression names is."""
    return set(re.split(r" (?:AND|OR|WITH) ", expression)) <= PERMISSIVE


def test_every_package_is_pinned_by_the_hash_of_each_of_its_files() -> None:
    for name, package in locked().items():
        if "virtual" in package["source"] or "editable" in package["source"]:
            continue
        assert package["source"] == {"registry": "https://pypi.org/simple"}, name
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files, name
        assert all(file["hash"].startswith("sha256:") for file in files), name


def test_what_installs_them_is_pinned_by_hash_too() -> None:
    pinned = (ROOT / "requirements-uv.txt").read_text()
    assert re.search(r"^uv==[\d.]+ \\$", pinned, re.MULTILINE)
    assert "--require-hashes -r requirements-uv.txt" in (ROOT / "Makefile").read_text()
    for service in SERVICES:
        dockerfile = (ROOT / "services" / service / "Dockerfile").read_text()
        assert re.findall(r"pip install .*", dockerfile) == [
            "pip install --no-cache-dir --require-hashes -r requirements-uv.txt"
        ]


def test_every_licence_in_an_image_is_permissive_or_was_looked_at() -> None:
    strange: dict[str, str] = {}
    for name in frozenset[str]().union(*map(in_image, SERVICES)):
        try:
            said = licence(distribution(name))
        except PackageNotFoundError:
            continue  # for another Python than this one
        if not permissive(said):
            strange[name] = said
    assert set(strange) == set(LOOKED_AT), strange
    page = (ROOT / "docs/supply-chain.md").read_text()
    assert all(f"| `{name}` | {terms}" in page for name, terms in LOOKED_AT.items())


@pytest.mark.parametrize("expression", ["GPL-3.0", "MIT AND GPL-2.0-only", "Proprietary", "", "AGPL-3.0 OR MIT"])
def test_a_licence_that_nobody_has_looked_at_is_not_permissive(expression: str) -> None:
    assert not permissive(expression)


def make(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", f"UV={uv()}", *words]
    env = {**os.environ, "UV_HTTP_RETRIES": "0"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_the_audit_asks_for_every_package_and_fails_on_a_vulnerability() -> None:
    asked: dict[str, str] = {}
    with osv("litestar", asked) as url:
        result = make("audit", f"ARGS=--service-url {url}", "UNREACHED=ok")
    assert result.returncode != 0
    assert "OSV-1: It is bad." in result.stdout
    assert asked.items() >= {name: locked()[name]["version"] for name in ("litestar", "pipecat-ai", "redis")}.items()


def test_without_a_vulnerability_the_audit_passes() -> None:
    with osv("nothing-of-ours", {}) as url:
        result = make("audit", f"ARGS=--service-url {url}")
    assert result.returncode == 0, result.stderr


def test_an_audit_that_reaches_nobody_passes_only_where_it_was_asked_to() -> None:
    nobody = "ARGS=--service-url http://127.0.0.1:9"
    assert make("audit", nobody).returncode != 0
    result = make("audit", nobody, "UNREACHED=ok")
    assert (result.returncode, result.stderr.splitlines()[-1]) == (0, "Not audited: see above.")


def test_the_bill_of_materials_of_an_image_has_all_of_it_by_hash(tmp_path: Path) -> None:
    result = make("sbom", f"SBOM={tmp_path}")
    assert result.returncode == 0, result.stderr
    for service in SERVICES:
        bill = msgspec.json.decode((tmp_path / f"pipefleet-{service}.cdx.json").read_bytes())
        assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
        listed = {it["name"]: it for it in bill["components"] if "purl" in it}
        assert set(listed) >= in_image(service)
        for component in listed.values():
            assert all(file["hashes"][0]["alg"] == "SHA-256" for file in component["externalReferences"])
