"""What tests make of npm packages: once for each content of a folder with a lock file, and kept in `.client_js`."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.machine import need
from tests.processes import ROOT

KEPT = ROOT / ".client_js"
INSTALL_S = 100
_INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def script_of(source: Path, result: str, *then: str) -> str:
    """The script at the path `result`, once the packages of `source` are there and npm has done `then`."""
    npm = need("npm")
    files = sorted(source.iterdir())
    name = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    kept = KEPT / f"{name}.js"
    if not kept.is_file():
        KEPT.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=KEPT) as folder:
            for file in files:
                shutil.copy(file, folder)
            for arguments in (_INSTALL, then):
                if arguments:
                    _run([npm, *arguments], Path(folder))
            # Another test run may be at it, too: whoever is last wins, with the same text.
            os.replace(Path(folder, result), kept)
    return kept.read_text()


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
