"""What `/schema` says of a route: taken from what it gives and raises, so that the two cannot differ."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request
from litestar.enums import MediaType
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import YamlRenderPlugin
from litestar.openapi.spec import Example, OpenAPIHeader, OpenAPIType, Operation, Schema

from services.gateway.access.auth import ALL, OPEN, PROBE, refusals
from services.gateway.error_answers import ErrorBody, body_of
from services.gateway.errors import HttpError, InvalidQuery, NotJson, TooLarge

SESSION_ID = "6f1c1f0e-55a5-4c0a-9a35-0b8a5e1fd3a1"
"""The session of all examples."""
BODY = (TooLarge(), NotJson())
"""What becomes of a body before its route sees it."""
BAD_LIMIT = InvalidQuery("limit", "expected a whole number >= 1")
"""Of a list."""

_TEXT = Schema(type=OpenAPIType.STRING)
_HEADERS = {
    "Location": OpenAPIHeader(schema=_TEXT, description="The session's path.", example=f"/sessions/{SESSION_ID}"),
    "Retry-After": OpenAPIHeader(
        schema=Schema(type=OpenAPIType.INTEGER), description="Ask again after so many seconds.", example=2
    ),
    "WWW-Authenticate": OpenAPIHeader(schema=_TEXT, description="How to present a key.", example="Bearer"),
}


class YamlOnce(YamlRenderPlugin):
    """The document as YAML. Writing it takes a quarter of a second, which everyone could ask for without a key."""

    _written: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The text, which is the same for every request."""
        if self._written is None:
            self._written = super().render(request, openapi_schema)
        return self._written


def documented(
    answers: Mapping[int, msgspec.Struct | str | None],
    *errors: HttpError,
    access: dict[str, str] = ALL,
    headers: Iterable[str] = (),
    body_required: bool = True,
) -> dict[str, Any]:
    """A route's access and documentation, as arguments of its decorator.

    `answers` has an example for each status of success, None for one without a body, text for a stream of events; they
    carry `headers`. `errors` are such as the route raises. Its summary is the beginning of its docstring.
    """
    errors = (*errors, *refusals(access))
    specs = {status: _spec(type(example) if example else None, [example]) for status, example in answers.items()}
    carried = {status: set(headers) for status in answers}
    for status in sorted({error.status for error in errors}):
        same = [error for error in errors if error.status == status]
        specs[status] = _spec(ErrorBody, [body_of(error) for error in same])
        carried[status] = {name for error in same for name in error.headers}
    return {"opt": access, "responses": specs, "operation_class": partial(_operation, access, carried, body_required)}


def _spec(kind: type[msgspec.Struct | str] | None, examples: Iterable[msgspec.Struct | str | None]) -> ResponseSpec:
    media_type = "text/event-stream" if kind is str else MediaType.JSON
    shown = [Example(value=one) for one in examples]
    return ResponseSpec(kind, generate_examples=False, examples=shown, media_type=media_type)


def _operation(access: dict[str, str], carried: Mapping[int, set[str]], body_required: bool, **parts: Any) -> Operation:
    """In place of Litestar's own: without the errors that it adds in another shape, and with headers."""
    responses = {
        status: replace(
            response,
            description=HTTPStatus(int(status)).phrase,
            headers={name: _HEADERS[name] for name in sorted(carried[int(status)])} or None,
        )
        for status, response in sorted(parts["responses"].items())
        if int(status) in carried
    }
    summary = re.split(r"[:.;]", parts["description"])[0]
    security = [] if access in (OPEN, PROBE) else parts["security"]
    body = parts["request_body"] and replace(parts["request_body"], required=body_required)
    return Operation(
        **{**parts, "responses": responses, "summary": summary, "security": security, "request_body": body}
    )
