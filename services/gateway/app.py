"""The HTTP application."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Response, Router
from litestar.di import Provide
from litestar.enums import MediaType
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition

from services.gateway import dead_letters, error_answers, join, metrics, session_views
from services.gateway.access import admission, browsers
from services.gateway.access.auth import OPEN
from services.gateway.commands import admin, leaving
from services.gateway.documentation import YamlOnce
from services.gateway.events import routes as events_routes
from services.gateway.fleet import drain, routes
from services.gateway.outage import Outage
from services.gateway.pages import client_page, console_page
from services.gateway.parts import Parts
from services.gateway.pipecat import cloud, signalling, start
from shared.errors import Unavailable
from shared.metrics import measuring
from shared.version import VERSION

LARGEST_BODY = 1_048_576

HANDLERS = [
    join.join,
    leaving.leave,
    leaving.delete_session,
    admin.admin,
    session_views.live_sessions,
    session_views.one_session,
    events_routes.all_events,
    events_routes.session_events,
    signalling.offer,
    signalling.candidates,
    start.start,
    start.start_agent,
    start.status,
    cloud.agent_sessions,
    cloud.stop_agent_session,
    dead_letters.dead_letters,
    dead_letters.redrive,
    dead_letters.delete_dead_letter,
    routes.fleet,
    drain.drain,
    routes.healthz,
    routes.readyz,
    metrics.gateway_metrics,
]


def create_app(parts: Parts) -> Litestar:
    """The application; its lifespan reads the streams that requests wait on."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with measuring("gateway"), parts.reading():
            yield

    settings, outage = parts.settings, Outage()
    metrics.begin(settings.agents)
    return Litestar(
        [*HANDLERS, *console_page.console_page(), client_page.client_page(settings.agents)],
        dependencies={"parts": Provide(lambda: parts, sync_to_thread=False)},
        exception_handlers={**error_answers.HANDLERS, Unavailable: outage.refuse},
        before_send=[outage.watch, metrics.count_answer],
        cors_config=browsers.cors(settings.cors_origins),
        guards=[admission.guard(settings, parts.rates)],
        lifespan=[lifespan],
        logging_config=None,
        debug=False,
        openapi_config=_documentation(),
        request_max_body_size=LARGEST_BODY,
    )


def _documentation() -> OpenAPIConfig:
    """The document alone, without a page: Litestar's pages load their scripts from other hosts."""
    return OpenAPIConfig(
        title="Pipefleet",
        version=VERSION,
        description="One request puts a bot in a room; the fleet keeps it there until it is told to leave.",
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        components=Components(security_schemes={"key": SecurityScheme(type="http", scheme="bearer")}),
        security=[{"key": []}],
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
        openapi_router=Router(
            "/schema", route_handlers=[], opt=OPEN, include_in_schema=False, after_request=_in_one_shape
        ),
        render_plugins=[
            JsonRenderPlugin(path=["/", "/openapi.json"], media_type=MediaType.JSON),
            YamlOnce(),
        ],
    )


def _operation_id(handler: HTTPRouteHandler, _: Method, path: Sequence[str | PathParameterDefinition]) -> str:
    """The handler's name; a second address of the same one has `_of_agent` behind it."""
    return handler.handler_name + ("_of_agent" if len(handler.paths) > 1 and "v1" in path else "")


async def _in_one_shape(response: Response[Any]) -> Response[Any]:
    """Litestar answers for unknown pages of its documentation with HTML of its own."""
    if response.status_code == 404:
        raise NotFoundException
    return response
