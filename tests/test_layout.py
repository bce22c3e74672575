"""Where things are, and what they may be called."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.processes import ROOT

PLACES = ("pipefleet", "services", "shared", "tests")
NAMES_WITHOUT_A_SUBJECT = {"base", "common", "core", "helper", "helpers", "manager", "misc", "util", "utils", "worker"}


def test_no_folder_of_services_or_tests_is_a_regular_package() -> None:
    """`services/operator/__init__.py` with `services/` on the path shadows the standard library's `operator`."""
    assert [path for place in ("services", "tests") for path in (ROOT / place).rglob("__init__.py")] == []


@pytest.mark.parametrize("place", PLACES)
def test_every_module_is_named_for_its_subject(place: str) -> None:
    assert [path for path in (ROOT / place).rglob("*.py") if path.stem in NAMES_WITHOUT_A_SUBJECT] == []


@pytest.mark.parametrize("place", PLACES)
def test_no_module_is_called_like_one_of_the_standard_library(place: str) -> None:
    owned = sys.stdlib_module_names - {"__main__"}
    assert [path for path in (ROOT / place).rglob("*.py") if path.stem in owned] == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The code, to do harm to."""
    for place in ("pipefleet", "services", "shared"):
        shutil.copytree(ROOT / place, tmp_path / place, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    # Without the site: it has the place of this repository, whose code would be read in place of the copy's.
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    env = {"PYTHONPATH": sysconfig.get_path("purelib")}
    command = [sys.executable, "-S", "-c", run, "--no-cache"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_linter_sees_every_module_and_finds_no_forbidden_import(copy: Path) -> None:
    result = lint_imports(copy)
    assert result.returncode == 0, result.stdout
    modules = sum(1 for place in ("pipefleet", "services", "shared") for _ in (copy / place).rglob("*.py"))
    found = re.search(r"Analyzed (\d+) files", result.stdout)
    assert found
    assert int(found[1]) >= modules


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("services/gateway/settings.py", "import services.runner.settings", "Services meet only in Redis"),
        ("services/operator/settings.py", "from services.gateway.settings import Names", "Services meet only in Redis"),
        ("services/runner/settings.py", "def f():\n    import services.operator.share", "Services meet only in Redis"),
        ("shared/settings.py", "from services.runner import settings", "shared knows no service"),
        (
            "pipefleet/doctor.py",
            "from services.runner import set_up",
            "knows no service, and no service it",
        ),
        (
            "services/runner/pipe.py",
            "from pipefleet import gateway",
            "knows no service, and no service it",
        ),
    ],
)
def test_a_forbidden_import_fails_the_linter(copy: Path, module: str, statement: str, contract: str) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\n\n{statement}\n")
    result = lint_imports(copy)
    assert result.returncode == 1
    assert f"{contract} BROKEN" in result.stdout
