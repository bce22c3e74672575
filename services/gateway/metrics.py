"""What the gateway counts, and `GET /metrics`."""

from collections.abc import Awaitable, Callable, Iterable
from functools import cache, wraps
from typing import Protocol, TypeVar

from litestar import Response, get
from litestar.types import Message, Scope
from prometheus_client import Counter, Gauge

from services.gateway.errors import AtCapacity, StillLeaving
from services.gateway.parts import Injected, Parts
from shared import metrics
from shared.contract import Launch
from shared.errors import PipefleetError, Unavailable
from shared.process import health

_JOINS = Counter(
    "pipefleet_joins",
    "Requests for a session: queued; reused, the room has one; refused, the queue is full; leaving, the room's bot "
    "took too long to leave; unavailable, Redis does not answer. Requests that are wrong in themselves do not count.",
    ["agent", "outcome"],
)
_REQUESTS = Counter("pipefleet_http_requests", "Answers by route and status.", ["route", "status"])
_SSE_CLIENTS = Gauge("pipefleet_sse_clients", "Who listens to events on this gateway.")

_REFUSALS: dict[type[PipefleetError], str] = {
    AtCapacity: "refused",
    StillLeaving: "leaving",
    Unavailable: "unavailable",
}
OUTCOMES = ("queued", "reused", *_REFUSALS.values())

_joins = cache(_JOINS.labels)


@cache
def _requests(handler: object, status: int) -> Counter:
    return _REQUESTS.labels(getattr(handler, "handler_name", "none"), str(status))


class _Answer(Protocol):
    @property
    def reused(self) -> bool: ...


R = TypeVar("R", bound=_Answer)


def begin(agents: Iterable[str]) -> None:
    """Let each outcome be there with 0: what appears with 1 has, for Prometheus, not risen."""
    for agent in agents:
        for outcome in OUTCOMES:
            _joins(agent, outcome)


def counted(accept: Callable[[Parts, Launch], Awaitable[R]]) -> Callable[[Parts, Launch], Awaitable[R]]:
    """The function that accepts sessions, counted by what comes of it."""

    @wraps(accept)
    async def counting(parts: Parts, launch: Launch) -> R:
        try:
            reply = await accept(parts, launch)
        except tuple(_REFUSALS) as error:
            _joins(launch.agent, _REFUSALS[type(error)]).inc()
            raise
        _joins(launch.agent, "reused" if reply.reused else "queued").inc()
        return reply

    return counting


async def count_answer(message: Message, scope: Scope) -> None:
    """See an answer that is about to be sent. A path that nobody has set up has no handler."""
    if message["type"] == "http.response.start":
        _requests(scope.get("route_handler"), message["status"]).inc()


@get("/metrics", include_in_schema=False, sync_to_thread=False)
def gateway_metrics(parts: Injected) -> Response[bytes]:
    """Tell what this gateway has counted."""
    _SSE_CLIENTS.set(len(parts.feed.subscribers))
    return Response(metrics.text(), headers={"Content-Type": health.METRICS})
