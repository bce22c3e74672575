"""What the gateway answers when it cannot do what was asked; everywhere in one shape.

HttpError              a sentence for the caller, with status and code
├── Invalid            400 INVALID_BODY: the request itself is wrong; names the field
├── InvalidQuery       400 INVALID_QUERY: the same for what stands behind the question mark
├── Unauthorized       401 UNAUTHORIZED: no key that we know
├── Forbidden          403 FORBIDDEN: a key of the wrong class, or a web page of another site
├── NotFound           404 NOT_FOUND: no such session or dead letter, or the session is over
├── Refused            409 REFUSED: not as things are: the bot said no, its session ended, the room has another
├── StillLeaving       409 LEAVING: the room's bot is just leaving, and takes its time
├── TooLarge           413 TOO_LARGE: the body has more than 1 MB
├── NotJson            415 NOT_JSON: the body does not say that it is JSON
├── AtCapacity         429 AT_CAPACITY: the queue is full
├── TooManyCommands    429 TOO_MANY_COMMANDS: too many commands to one session are undone
├── TooOften           429 TOO_OFTEN: more requests of one key than it may make
├── RateLimited        429 RATE_LIMITED: Daily lets the account make no more rooms for now
├── TooSlow            408 TOO_SLOW: the request did not come to its end in time
├── HeadTooLarge       431 HEAD_TOO_LARGE: its address and headers have more than 32 kB
├── NotHttp            400 NOT_HTTP: it is not written as HTTP has it
├── NotSupported       501 NOT_SUPPORTED
├── BadAnswer          502 BAD_ANSWER: the bot's answer makes no sense
├── DailyFailed        502 DAILY_FAILED: Daily did not make the room
├── TooManyConnections 503 TOO_MANY_CONNECTIONS: as many clients as this gateway takes
├── Away               503 UNAVAILABLE: Redis does not answer
└── NoAnswer           504 NO_ANSWER: the bot did not answer in time
"""

import math
import traceback
from http import HTTPStatus
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from shared.complaints import in_words
from shared.contract import UNDONE_COMMANDS
from shared.errors import PipefleetError

RETRY_FULL_S = 5
RETRY_LEAVING_S = 2
RETRY_AWAY_S = 2

_log = structlog.get_logger()


class HttpError(PipefleetError):
    """An answer that is an error. The text is one sentence for people, and holds no secret."""

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]
    headers: ClassVar[dict[str, str]] = {}


class Invalid(HttpError):  # noqa: N818 - the errors of this tree say what is the case
    """The request is wrong in itself."""

    status = HTTPStatus.BAD_REQUEST
    code = "INVALID_BODY"

    def __init__(self, field: str, complaint: str) -> None:
        super().__init__(f"{field}: {complaint}")


class InvalidQuery(HttpError):  # noqa: N818
    """A parameter of the address is wrong."""

    status = HTTPStatus.BAD_REQUEST
    code = "INVALID_QUERY"

    def __init__(self, parameter: str, complaint: str) -> None:
        super().__init__(f"{parameter}: {complaint}")


class Unauthorized(HttpError):  # noqa: N818
    """No key, or none that we know."""

    status = HTTPStatus.UNAUTHORIZED
    code = "UNAUTHORIZED"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class Forbidden(HttpError):  # noqa: N818
    """The key is for something else."""

    status = HTTPStatus.FORBIDDEN
    code = "FORBIDDEN"


class NotFound(HttpError):  # noqa: N818
    """No such thing."""

    status = HTTPStatus.NOT_FOUND
    code = "NOT_FOUND"


class Refused(HttpError):  # noqa: N818
    """Not in this state of things."""

    status = HTTPStatus.CONFLICT
    code = "REFUSED"


class StillLeaving(HttpError):  # noqa: N818
    """The room is not free yet."""

    status = HTTPStatus.CONFLICT
    code = "LEAVING"
    headers: ClassVar[dict[str, str]] = {"Retry-After": str(RETRY_LEAVING_S)}

    def __init__(self) -> None:
        super().__init__("The room's bot is about to leave and has not left yet. Please try again.")


class TooLarge(HttpError):  # noqa: N818
    """More than the application reads of a body."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "TOO_LARGE"

    def __init__(self) -> None:
        super().__init__("The body is larger than 1 MB.")


class NotJson(HttpError):  # noqa: N818
    """A body of another kind, or of none."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "NOT_JSON"

    def __init__(self) -> None:
        super().__init__("A body must be JSON and say so: Content-Type: application/json")


class AtCapacity(HttpError):  # noqa: N818
    """The queue is full."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "AT_CAPACITY"
    headers: ClassVar[dict[str, str]] = {"Retry-After": str(RETRY_FULL_S)}

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} sessions wait for a runner already.")


class TooManyCommands(HttpError):  # noqa: N818
    """The bot does not take its commands as fast as they come."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "TOO_MANY_COMMANDS"
    headers: ClassVar[dict[str, str]] = {"Retry-After": str(RETRY_FULL_S)}

    def __init__(self) -> None:
        super().__init__(f"{UNDONE_COMMANDS} commands to this session have not been delivered yet.")


class TooOften(HttpError):  # noqa: N818
    """One key makes more requests than it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "TOO_OFTEN"

    def __init__(self, after_s: float) -> None:
        super().__init__("There were too many requests with this key. Please try again later.")
        self.after_s = after_s

    @property
    def headers(self) -> dict[str, str]:  # type: ignore[override]  # the only one whose headers are not of the class
        """With the first moment at which asking again may help."""
        return {"Retry-After": str(math.ceil(self.after_s))}


class TooSlow(HttpError):  # noqa: N818
    """A request that trickles."""

    status = HTTPStatus.REQUEST_TIMEOUT
    code = "TOO_SLOW"

    def __init__(self) -> None:
        super().__init__("The request did not come to its end in time.")


class HeadTooLarge(HttpError):  # noqa: N818
    """More headers than anybody needs."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    code = "HEAD_TOO_LARGE"

    def __init__(self) -> None:
        super().__init__("The request's address and headers are larger than 32 kB.")


class NotHttp(HttpError):  # noqa: N818
    """Bytes that are no request."""

    status = HTTPStatus.BAD_REQUEST
    code = "NOT_HTTP"

    def __init__(self) -> None:
        super().__init__("The request is not written as HTTP has it.")


class TooManyConnections(HttpError):  # noqa: N818
    """The process has no place for one more client."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "TOO_MANY_CONNECTIONS"
    headers: ClassVar[dict[str, str]] = {"Retry-After": str(RETRY_AWAY_S)}

    def __init__(self) -> None:
        super().__init__("This gateway serves as many clients as it can. Please try again.")


class RateLimited(HttpError):  # noqa: N818
    """More rooms at once than Daily makes for one account."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "RATE_LIMITED"
    headers: ClassVar[dict[str, str]] = {"Retry-After": str(RETRY_FULL_S)}

    def __init__(self) -> None:
        super().__init__("Daily lets this account make no more rooms for the moment. Please try again.")


class NotSupported(HttpError):  # noqa: N818
    """A part of a foreign API that this gateway does not have."""

    status = HTTPStatus.NOT_IMPLEMENTED
    code = "NOT_SUPPORTED"


class BadAnswer(HttpError):  # noqa: N818
    """The bot answered something else."""

    status = HTTPStatus.BAD_GATEWAY
    code = "BAD_ANSWER"


class DailyFailed(HttpError):  # noqa: N818
    """Daily refused, or did not answer."""

    status = HTTPStatus.BAD_GATEWAY
    code = "DAILY_FAILED"

    def __init__(self, said: str) -> None:
        super().__init__(f"Daily did not make the room: {said}")


class Away(HttpError):  # noqa: N818
    """Redis does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "UNAVAILABLE"
    headers: ClassVar[dict[str, str]] = {"Retry-After": str(RETRY_AWAY_S)}

    def __init__(self) -> None:
        super().__init__("The fleet's Redis does not answer. Please try again.")


class NoAnswer(HttpError):  # noqa: N818
    """The bot did not answer in time."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "NO_ANSWER"


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
    for start, rest in (("Object missing required field ", "is missing"), ("Object contains unknown field ", "")):
        if sentence.startswith(start):
            name = sentence.removeprefix(start)
            return f"{name}: {rest}" if rest else f"{name}: there is no such field"
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
