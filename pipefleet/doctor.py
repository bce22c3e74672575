"""`pipefleet doctor`: what is wrong with a set-up, and what to do about it."""

import asyncio
from argparse import Namespace
from importlib.util import find_spec

from pipefleet.asked import URL
from pipefleet.gateway import Gateway, Json, Refused, Unreachable
from pipefleet.tables import coloured, plain, say, say_json

SERVICES = ("gateway", "operator", "runner")
KEY_REMEDY = "Put one of the gateway's ADMIN_KEYS into PIPEFLEET_KEY, or into a file for --key-file."


def doctor(gateway: Gateway, asked: Namespace) -> int:
    """Look at all that can be looked at from here; 1 if something does not work."""
    findings = [of_gateway(gateway), *_of_this_place(asked.service)]
    if asked.json:
        say_json({"findings": findings})
    else:
        width = max(len(one["check"]) for one in findings)
        for one in findings:
            say(
                f"{coloured(one['status'], one['status'].ljust(4))}  {one['check'].ljust(width)}  {plain(one['found'])}"
            )
            if one["remedy"]:
                say(f"      {' ' * width}  -> {plain(one['remedy'])}")
    return 1 if any(one["status"] == "fail" for one in findings) else 0


def of_gateway(gateway: Gateway) -> Json:
    """Whether it answers, and to this key."""
    try:
        gateway.get("/fleet")
    except Refused as error:
        remedy = KEY_REMEDY if error.status in {401, 403} else "See the gateway's log."
        return _finding("gateway", "fail", str(error), remedy)
    except Unreachable as error:
        # From a Pod of another service the default address leads nowhere, and that is no fault.
        status = "warn" if gateway.url == URL else "fail"
        return _finding("gateway", status, str(error), "Start the gateway, or point PIPEFLEET_URL at it.")
    return _finding("gateway", "ok", f"it answers at {gateway.url}")


def _of_this_place(services: list[str]) -> list[Json]:
    if find_spec("shared") is None:
        remedy = "Run it there too, such as kubectl exec deploy/operator -- python -m pipefleet doctor."
        return [_finding("here", "warn", "only the gateway was looked at: no service is installed here", remedy)]
    # Only here: where the command is installed alone, none of this is there.
    import msgspec  # noqa: PLC0415

    from pipefleet.set_up import examine  # noqa: PLC0415

    found: list[Json] = msgspec.to_builtins(asyncio.run(examine(services or SERVICES)))
    return found


def _finding(check: str, status: str, found: str, remedy: str = "") -> Json:
    return {"check": check, "status": status, "found": found, "remedy": remedy}
