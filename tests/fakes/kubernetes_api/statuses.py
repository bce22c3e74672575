"""Refusals, in the shape that the API server gives them: a `Status` object with code and machine-readable reason.

Reasons and shapes are those of
https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.33/#status-v1-meta and apimachinery's `api/errors`.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

from tests.fakes.kubernetes_api.resources import Resource

Object: TypeAlias = dict[str, Any]

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class ApiError(Exception):
    """A request that is refused."""

    def __init__(
        self, code: int, message: str, *, reason: str = "", details: Object | None = None, retry_after_s: int = 0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or REASONS[code]
        self.details = dict(details or {})
        self.retry_after_s = retry_after_s
        if retry_after_s:
            self.details["retryAfterSeconds"] = retry_after_s

    def status(self) -> Object:
        """The body of the answer."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **({"details": self.details} if self.details else {}),
            "code": self.code,
        }


def details(resource: Resource, name: str) -> Object:
    """Which object a Status is about."""
    told = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in told.items() if value}


def not_found(resource: Resource, name: str) -> ApiError:
    """404."""
    return ApiError(404, f'{resource.qualified} "{name}" not found', details=details(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    """409 of a create."""
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, message, reason="AlreadyExists", details=details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    """409 of a write that was made from an old version."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, message, details=details(resource, name))


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    """403."""
    named = f'{resource.qualified} "{name}"' if name else resource.qualified
    return ApiError(403, f"{named} is forbidden: {why}", details=details(resource, name))


def invalid(resource: Resource, name: str, causes: Iterable[tuple[str, str, str]]) -> ApiError:
    """422; a cause is its reason, its field and a sentence."""
    told = [{"reason": reason, "message": message, "field": field} for reason, field, message in causes]
    errors = [f"{cause['field']}: {cause['message']}" for cause in told]
    text = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    return ApiError(
        422,
        f'{resource.kind}{"." + resource.group if resource.group else ""} "{name}" is invalid: {text}',
        details={"name": name, "group": resource.group, "kind": resource.kind, "causes": told},
    )


def expired(asked: int, oldest: int) -> ApiError:
    """410: history does not reach back to the version that was asked for."""
    return ApiError(410, f"too old resource version: {asked} ({oldest})")
