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
from http import HTTPStatus
from typing import ClassVar

from shared.contract import UNDONE_BYTES, UNDONE_COMMANDS
from shared.errors import PipefleetError

RETRY_FULL_S = 5
RETRY_LEAVING_S = 2
RETRY_AWAY_S = 2


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
        many = f"{UNDONE_COMMANDS} commands to this session, or {UNDONE_BYTES // 2**20} MB of them,"
        super().__init__(f"{many} have not been delivered yet.")


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
