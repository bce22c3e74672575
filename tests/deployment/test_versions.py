"""One version, wherever it is written; images, manifests and README are looked at beside what else they say."""

import subprocess
import sys
import tomllib

from pipefleet import VERSION as OF_COMMAND_LINE
from shared.version import VERSION
from tests.processes import ROOT


def test_packages_services_and_command_line_have_the_same_version() -> None:
    files = [ROOT / "pyproject.toml", *ROOT.glob("*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
    assert len(files) == 6
    assert {tomllib.loads(file.read_text())["project"]["version"] for file in files} == {VERSION}
    assert OF_COMMAND_LINE == VERSION
    assert f"\nVERSION ?= {VERSION}\n" in (ROOT / "Makefile").read_text()


def test_the_command_line_says_its_version() -> None:
    told = subprocess.run([sys.executable, "-m", "pipefleet", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout == f"pipefleet {VERSION}\n"
