"""`/client/`: the page of the package `pipecat-ai-prebuilt`, to talk to a bot in the browser.

The page's SmallWebRTC transport takes the microphone through Daily's call object, which fetches its code from
c.daily.co and reports to Sentry. Here it takes it through `client/local_media.js`: the transport's script is served
with that one import pointed there. What the page loads for the Daily transport stays as it is.

The page talks to the agent that its address names, `/client/?agent=sales`: it starts sessions with its own query. It
sends the key that was entered at the console in the same tab: its main script imports `client/key.js` before all else.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import structlog
from litestar import Request, Response, Router, get
from litestar.datastructures import CacheControlHeader
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect
from litestar.static_files import create_static_files_router

from services.gateway.access.auth import OPEN
from services.gateway.pages.headers import client_page_headers

PACKAGE = "pipecat_ai_prebuilt"
LOCAL_MEDIA = Path(__file__).parent / "client" / "local_media.js"
KEY = LOCAL_MEDIA.with_name("key.js")
LONGEST_PATH = 255

_DAILY_IMPORT = re.compile(r'import\{t as (?P<name>\w+)\}from"\./daily-esm-[\w-]+\.js"')
_OUR_IMPORT = 'import{{LocalMediaCall as {name}}}from"../{file}"'
_START = "endpoint:`/start`"
_NEEDS_INTERNET = "the page at /client/ needs the internet, and runs a script from c.daily.co"
_KNOWS_NO_AGENT = "the page at /client/ starts sessions of the default agent alone, and without a key"

_log = structlog.get_logger()


class UnexpectedPageError(Exception):
    """The package has changed so much that it cannot be given our media, or an agent."""


def page_directory() -> Path:
    """Where the page's files are. The package is not imported: that would print, and need FastAPI.

    Raises:
        ModuleNotFoundError: the package is not installed, or has no page in it.
    """
    spec = find_spec(PACKAGE)
    for place in (spec and spec.submodule_search_locations) or ():
        directory = Path(place, "client", "dist")
        if (directory / "index.html").is_file():
            return directory
    raise ModuleNotFoundError(f"{PACKAGE} with its client/dist is needed for /client/", name=PACKAGE)


def client_page(agents: Sequence[str], directory: Path | None = None) -> Router:
    """Serves the page's files, from the package unless `directory` says otherwise.

    In a fleet without a default agent the page is that of the first one, if its address names none.
    """
    page = directory or page_directory()
    router = create_static_files_router(
        "/client",
        directories=[page],
        html_mode=True,
        opt=OPEN,
        before_request=partial(_with_agent_and_slash, agents[0]),
        after_request=_with_headers,
    )
    local_media = LOCAL_MEDIA.read_text()
    for ours in (LOCAL_MEDIA, KEY):
        router.register(_script(f"/{ours.name}", ours.read_text()))
    changes: tuple[tuple[str, Callable[[str], str], str], ...] = (
        ("SmallWebRTCMediaManager", partial(with_local_media, local_media=local_media), _NEEDS_INTERNET),
        (_START, with_agent_and_key, _KNOWS_NO_AGENT),
    )
    for mark, change, meaning in changes:
        try:
            file = _file_with(mark, page)
            router.register(_script(f"/assets/{file.name}", change(file.read_text())))
        except UnexpectedPageError as error:
            _log.warning("client_page_unexpected", error=str(error), meaning=meaning)
    return router


def with_agent_and_key(script: str) -> str:
    """The script that starts sessions, taking the agent from the page's address, and the key from ours."""
    return f'import"../{KEY.name}";{script.replace(_START, f"{_START}+location.search")}'


def with_local_media(transport: str, local_media: str) -> str:
    """The transport's script, taking its media from ours.

    Raises:
        UnexpectedPageError: it does not import Daily's as we know it, or uses something of it that ours has not.
    """
    imports = list(_DAILY_IMPORT.finditer(transport))
    name = imports[0]["name"] if len(imports) == 1 else ""
    if not name or f"{name}.getCallInstance()??{name}.createCallObject()" not in transport:
        raise UnexpectedPageError("the SmallWebRTC transport takes its media in a way not known here")
    methods = set(re.findall(r"\b_daily\??\.(\w+)", transport))
    events = set(re.findall(r"\b_daily\.on\(`([^`]+)`", transport))
    missing = [method for method in methods if not re.search(rf"^  (?:async )?{method}\(", local_media, re.MULTILINE)]
    missing += [event for event in events if f'"{event}"' not in local_media]
    if missing:
        raise UnexpectedPageError(
            f"the SmallWebRTC transport needs {', '.join(sorted(missing))} of Daily's call object"
        )
    return _DAILY_IMPORT.sub(_OUR_IMPORT.format(name=name, file=LOCAL_MEDIA.name), transport)


def _file_with(mark: str, page: Path) -> Path:
    found = [file for file in (page / "assets").glob("*.js") if mark in file.read_text()]
    if len(found) != 1:
        raise UnexpectedPageError(f"{mark} is in {len(found)} of the page's scripts, not in one")
    return found[0]


def _script(path: str, text: str) -> HTTPRouteHandler:
    content = text.encode()  # once: who asks and does not read would have us keep a megabyte for each request

    # The name of a packaged file stands for the package's version and not for ours.
    @get(path, include_in_schema=False, sync_to_thread=False, cache_control=CacheControlHeader(no_cache=True))
    def script() -> Response[bytes]:
        return Response(content, media_type="text/javascript")

    return script


async def _with_headers(response: Response[Any]) -> Response[Any]:
    response.headers.update(client_page_headers())
    return response


async def _with_agent_and_slash(agent: str, request: Request[Any, Any, Any]) -> Redirect | None:
    """The page names its files relative to itself, and starts sessions of the agent that its address names."""
    path = request.scope["raw_path"].partition(b"?")[0].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    if "\0" in request.url.path or len(path) > LONGEST_PATH:
        raise NotFoundException  # no file system has a file of this name; some say so with an error
    if agent and path in {"/client", "/client/"} and "agent" not in request.query_params:
        query = "&".join(filter(None, (query, urlencode({"agent": agent}))))
    elif path != "/client":
        return None
    return Redirect(f"/client/?{query}" if query else "/client/")
