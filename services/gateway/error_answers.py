"""Errors as answers: ours, those of the framework and those that nobody foresaw, all in one shape."""

import traceback
from http import HTTPStatus
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from services.gateway.errors import HttpError, Invalid, InvalidQuery, TooLarge, TooSlow
from shared.complaints import in_words

_log = structlog.get_logger()


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """Every error's body. `message` and `info` repeat `error` for clients that look there."""

    error: str
    code: str
    status: int
    message: str
    info: str
    """Where Pipecat's client for JavaScript looks."""


_FOREIGN = {
    HTTPStatus.METHOD_NOT_ALLOWED: ("METHOD_NOT_ALLOWED", "{method} is not possible here."),
    HTTPStatus.NOT_FOUND: ("NOT_FOUND", "There is nothing at this address."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (TooLarge.code, str(TooLarge())),
}
"""Code and sentence for the errors that the framework raises itself."""
_CLIENT_IS_GONE = "client disconnected prematurely"
"""The framework's word for a body that broke off, for which it has an error of its own servers only."""


def complaint(text: str) -> str:
    """A sentence of msgspec's without its path and marks, such as `expected text, got a whole number`."""
    sentence = in_words(text.partition(" - at ")[0]).replace("`", "")
    for start, ours in (
        ("Object missing required field ", "is missing"),
        ("Object contains unknown field ", "there is no such field"),
    ):
        if sentence.startswith(start):
            return f"{sentence.removeprefix(start)}: {ours}"
    return sentence[:1].lower() + sentence[1:]


def invalid_field(error: msgspec.ValidationError) -> Invalid:
    """The same for a struct that we converted ourselves."""
    text = complaint(str(error))
    path = str(error).partition("`$.")[2].rstrip("`")
    field, _, rest = (path, "", text) if path else text.partition(": ")
    return Invalid(field, rest)


def body_of(error: HttpError) -> ErrorBody:
    """What the caller reads of an error."""
    return _body(error.status, error.code, str(error))


def answer(error: HttpError) -> Response[ErrorBody]:
    """The whole answer."""
    return _answer(error.status, error.code, str(error), error.headers)


def _answer(status: int, code: str, sentence: str, headers: dict[str, str] | None = None) -> Response[ErrorBody]:
    body = _body(status, code, sentence)
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def _body(status: int, code: str, sentence: str) -> ErrorBody:
    return ErrorBody(error=sentence, code=code, status=status, message=sentence, info=sentence)


def _ours(_: Request[Any, Any, Any], error: HttpError) -> Response[ErrorBody]:
    return answer(error)


def _invalid(request: Request[Any, Any, Any], error: ValidationException) -> Response[ErrorBody]:
    first: dict[str, str] = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    field, text = first.get("key", ""), complaint(first.get("message", "not valid"))
    if first.get("source") != "body":
        return answer(InvalidQuery(field or "query", text))
    if text == "'data'":
        return _answer(400, "INVALID_BODY", "A JSON object is needed as body.")
    if text.startswith("invalid enum value") and (allowed := _choices(request, field)):
        text = f"must be one of {', '.join(allowed)}"
    at_root = field == "data"
    return _answer(400, "INVALID_BODY", text if at_root else f"{field.replace('[...]', '')}: {text}")


def _choices(request: Request[Any, Any, Any], name: str) -> tuple[str, ...]:
    """The values that a field of the request's body may have; none where they are not a closed list."""
    body = request.route_handler.parsed_fn_signature.parameters["data"].annotation
    fields = {field.encode_name: field.name for field in msgspec.structs.fields(body)}
    kind = get_type_hints(body).get(fields.get(name, ""))
    return get_args(kind) if get_origin(kind) is Literal else ()


def _foreign(request: Request[Any, Any, Any], error: HTTPException) -> Response[ErrorBody]:
    if error.detail == _CLIENT_IS_GONE:
        return answer(TooSlow())  # nobody reads it
    if error.status_code >= 500:
        return _unexpected(request, error)
    # The framework's own text for a bad request is about JSON or the query; neither quotes what was sent.
    code, sentence = _FOREIGN.get(HTTPStatus(error.status_code), ("INVALID_BODY", f"Not readable: {error.detail}."))
    return _answer(error.status_code, code, sentence.format(method=request.method), error.headers)


def _too_deep(_: Request[Any, Any, Any], __: RecursionError) -> Response[ErrorBody]:
    return _answer(400, "INVALID_BODY", "The body is nested too deeply.")


def _no_text(_: Request[Any, Any, Any], __: UnicodeDecodeError) -> Response[ErrorBody]:
    return _answer(400, "INVALID_BODY", "Not readable: the body is not UTF-8.")


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorBody]:
    # Where, and what kind; not the text, which may quote what the request carried.
    where = traceback.format_tb(error.__traceback__)[-3:]
    _log.error("request_failed", method=request.method, path=request.url.path, kind=type(error).__name__, where=where)
    return _answer(500, "INTERNAL", "Something went wrong in the gateway; its log says where.")


HANDLERS: ExceptionHandlersMap = {
    HttpError: _ours,
    ValidationException: _invalid,
    HTTPException: _foreign,
    RecursionError: _too_deep,
    UnicodeDecodeError: _no_text,
    Exception: _unexpected,
}
