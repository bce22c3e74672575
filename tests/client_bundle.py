"""The page of `tests/client_js`, with Pipecat's published client in it, as a browser can load it.

The packages come from the npm registry once for each content of the folder, and stay in `.client_js`.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.machine import need
from tests.processes import ROOT

SOURCE = ROOT / "tests" / "client_js"
KEPT = ROOT / ".client_js"
INSTALL_S = 100


def bundle() -> str:
    """The script."""
    npm = need("npm")
    files = sorted(SOURCE.iterdir())
    name = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    kept = KEPT / f"{name}.js"
    if not kept.is_file():
        KEPT.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=KEPT) as folder:
            # Another test run may be at it, too: whoever is last wins, with the same text.
            os.replace(_built(npm, Path(folder), files), kept)
    return kept.read_text()


def _built(npm: str, folder: Path, files: list[Path]) -> Path:
    for file in files:
        shutil.copy(file, folder)
    for command in (
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        [npm, "exec", "--offline", "--", "esbuild", "page.mjs", "--bundle", "--format=esm", "--outfile=bundle.js"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bundle.js"
