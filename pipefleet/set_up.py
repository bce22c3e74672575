"""All that can be found of the set-up of the machine or Pod that this runs on."""

import asyncio
import sys
from collections.abc import Sequence
from importlib.util import find_spec

import msgspec

from pipefleet.gateway import Gateway, Refused, Unreachable, UsageError
from pipefleet.redis_visit import visit
from shared import findings, settings
from shared.errors import SettingsError
from shared.findings import Finding, fail, ok
from shared.settings import FleetSettings, LaunchSettings

WITHIN_S = 150.0


async def examine(services: Sequence[str]) -> list[Finding]:
    """Redis, Daily, and each of these services where it is installed."""
    looks = [_redis(), asyncio.to_thread(_daily), *(_service(name) for name in services if installed(name))]
    return [one for found in await asyncio.gather(*looks) for one in found]


def installed(service: str) -> bool:
    """Whether a service's code is here; an image has that of its own."""
    try:
        return find_spec(f"services.{service}.set_up") is not None
    except ModuleNotFoundError:
        return False


async def _redis() -> list[Finding]:
    try:
        loaded = settings.load(FleetSettings)
    except SettingsError as error:
        return [fail("settings", line, "Correct this variable.") for line in str(error).splitlines()]
    return await visit(loaded)


def _daily() -> list[Finding]:
    try:
        loaded = settings.load(LaunchSettings)
    except SettingsError:
        return []  # the services say which
    if not loaded.daily_api_key:
        return [ok("daily", "no DAILY_API_KEY: rooms of Daily come with the requests")]
    try:
        domain = Gateway(loaded.daily_api_url, loaded.daily_api_key).get("/").get("domain_name", "?")
    except Refused as error:
        remedy = "Set DAILY_API_KEY to the key in your dashboard, under Developers."
        return [fail("daily", f"Daily refuses the key: {error}", remedy)]
    except UsageError as error:
        return [fail("daily", str(error).replace("gateway", "API", 1), "Correct DAILY_API_KEY or DAILY_API_URL.")]
    except Unreachable as error:
        found = str(error).replace("gateway", "Daily", 1)
        return [fail("daily", found, "Let this machine reach DAILY_API_URL.")]
    return [ok("daily", f"the key is that of {domain}")]


async def _service(name: str) -> list[Finding]:
    """What a service finds of its own set-up, in a process of its own, which reads the same environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"services.{name}.set_up"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(WITHIN_S):
            told, complaints = await process.communicate()
        # What is imported there may have something to say before.
        return findings.read(told.strip().rpartition(b"\n")[2])
    except (TimeoutError, msgspec.DecodeError):
        last = complaints.decode(errors="replace").strip().rpartition("\n")[2] if process.returncode is not None else ""
        found = last or f"it did not come to its end within {WITHIN_S:.0f} s"
        return [fail(name, found, f"Install the {name} whole: uv sync, or its image.")]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
