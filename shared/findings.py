"""What was found of a set-up: by whoever looked at a part of it, for `pipefleet doctor`."""

from collections.abc import Callable
from typing import Literal, TypeAlias, TypeVar

import msgspec

from shared import settings
from shared.errors import SettingsError

S = TypeVar("S", bound=msgspec.Struct)

Severity: TypeAlias = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `remedy` says in one sentence what to do, where something is to be done."""

    check: str
    status: Severity
    found: str
    remedy: str = ""


def ok(check: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(check=check, status="ok", found=found)


def warn(check: str, found: str, remedy: str) -> Finding:
    """It works, and something can go wrong."""
    return Finding(check=check, status="warn", found=found, remedy=remedy)


def fail(check: str, found: str, remedy: str) -> Finding:
    """It does not work, or does not keep what is promised."""
    return Finding(check=check, status="fail", found=found, remedy=remedy)


def of_settings(service: str, kind: type[S], judge: Callable[[S], list[Finding]]) -> list[Finding]:
    """Whether a service would start with this environment; and if so, what else there is to find."""
    check = f"{service} settings"
    try:
        loaded = settings.load(kind)
    except SettingsError as error:
        return [
            fail(check, one, f"Correct this variable: the {service} does not start.") for one in f"{error}".splitlines()
        ]
    return [ok(check, "all have a meaning"), *judge(loaded)]


def tell(findings: list[Finding]) -> None:
    """To the standard output, as `read` reads them."""
    print(msgspec.json.encode(findings).decode())  # noqa: T201 - whoever started this process reads it


def read(text: bytes) -> list[Finding]:
    """What `tell` told.

    Raises:
        msgspec.DecodeError: nothing of the kind.
    """
    return msgspec.json.decode(text, type=list[Finding])
