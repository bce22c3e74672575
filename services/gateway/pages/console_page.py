"""`/`: the console, a page that shows the live fleet and takes commands; its files are in `console/`.

The page holds no secret: it is served to everyone, and asks for a key itself where the gateway wants one.
"""

from pathlib import Path

from litestar import Response, get
from litestar.datastructures import CacheControlHeader
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.gateway.access.auth import OPEN
from services.gateway.pages.headers import console_headers

FOLDER = Path(__file__).parent / "console"

_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def console_page() -> list[HTTPRouteHandler]:
    """Serves the page and its files, as they are now."""
    files = {path.name: (path.read_text(), _KINDS[path.suffix]) for path in FOLDER.iterdir()}

    def served(name: str) -> Response[str]:
        text, kind = files[name]
        return Response(text, media_type=kind, headers=console_headers())

    # A newer gateway has newer files under the same names.
    fresh = CacheControlHeader(no_cache=True)

    @get("/", opt=OPEN, include_in_schema=False, sync_to_thread=False, cache_control=fresh)
    def console() -> Response[str]:
        return served("index.html")

    @get("/console/{name:str}", opt=OPEN, include_in_schema=False, sync_to_thread=False, cache_control=fresh)
    def console_file(name: FromPath[str]) -> Response[str]:
        if name not in files:
            raise NotFoundException
        return served(name)

    return [console, console_file]
