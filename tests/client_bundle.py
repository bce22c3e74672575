"""The page of `tests/client_js`, with Pipecat's published client in it, as a browser can load it."""

from tests.npm_packages import script_of
from tests.processes import ROOT

SOURCE = ROOT / "tests" / "client_js"
_BUNDLE = ("exec", "--offline", "--", "esbuild", "page.mjs", "--bundle", "--format=esm", "--outfile=bundle.js")


def bundle() -> str:
    """The script."""
    return script_of(SOURCE, "bundle.js", *_BUNDLE)
