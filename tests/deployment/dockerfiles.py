"""Dockerfiles, read as far as ours go, and their build stages carried out without a container engine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.machine import need
from tests.processes import ROOT

NOT_COPIED = shutil.ignore_patterns("__pycache__", "Dockerfile")
"""What `.dockerignore` keeps out of the folders that are copied."""


@dataclass
class Stage:
    """One stage: its base, and its instructions in order."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, instruction: str) -> list[str]:
        return [text for name, text in self.steps if name == instruction]

    @property
    def env(self) -> dict[str, str]:
        return dict(pair.partition("=")[::2] for text in self.of("ENV") for pair in shlex.split(text))

    @property
    def labels(self) -> dict[str, str]:
        return dict(pair.partition("=")[::2] for text in self.of("LABEL") for pair in shlex.split(text))

    @property
    def command(self) -> list[str]:
        (text,) = self.of("CMD")
        return list(json.loads(text))

    @property
    def healthcheck(self) -> list[str]:
        (text,) = self.of("HEALTHCHECK")
        return list(json.loads(text.partition("CMD ")[2]))


def stages(service: str) -> list[Stage]:
    """The stages of a service's Dockerfile."""
    text = (ROOT / "services" / service / "Dockerfile").read_text()
    found: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            found.append(Stage(rest))
        elif found and instruction and not instruction.startswith("#"):
            found[-1].steps.append((instruction, rest))
    return found


def uv() -> str:
    """As the Makefile finds it, or makes it."""
    if found := shutil.which("uv"):
        return found
    subprocess.run([need("make"), "-s", ".uv/bin/uv"], cwd=ROOT, check=True)
    return str(ROOT / ".uv/bin/uv")


@dataclass
class Built:
    """What a build stage made."""

    folder: Path
    env: dict[str, str]

    @property
    def site_packages(self) -> Path:
        (found,) = (self.folder / ".venv/lib").glob("python3.*/site-packages")
        return found

    def python(self, code: str) -> str:
        """What a program of the image's Python writes."""
        command = [str(self.folder / ".venv/bin/python"), "-c", code]
        result = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=True)
        return result.stdout.strip()


def build(service: str, folder: Path) -> Built:
    """Carry out the build stage in a folder that stands for `/app`, all but the installation of uv.

    Packages come from uv's cache where they are in it, and this Python takes the place of the image's.
    """
    stage, final = stages(service)
    tools = f"{Path(uv()).parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, **stage.env, "PATH": tools, "UV_PYTHON": sys.executable}
    del env["UV_NO_CACHE"]
    for instruction, text in stage.steps:
        if instruction == "COPY":
            _copy(text.split(), folder)
        elif instruction == "RUN" and not text.startswith("pip install"):
            subprocess.run(["/bin/sh", "-ec", text], cwd=folder, env=env, check=True, capture_output=True)
    return Built(folder, {**final.env, "PATH": f"{folder}/.venv/bin:{os.environ['PATH']}"})


def _copy(words: list[str], folder: Path) -> None:
    *sources, target = words
    for name in sources:
        source, place = ROOT / name, folder / target
        if source.is_dir():
            shutil.copytree(source, place, dirs_exist_ok=True, ignore=NOT_COPIED)
        else:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
