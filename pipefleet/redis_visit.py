"""What Redis says when it is asked as the services ask it."""

import time
from collections.abc import Awaitable
from typing import Any

from redis.exceptions import AuthenticationError, MovedError, NoPermissionError, RedisError, ResponseError

from pipefleet import fleet_health, redis_health
from shared import known_agents
from shared.contract import CLAIMS, LAUNCH, launch_streams
from shared.errors import Unavailable
from shared.findings import Finding, fail, ok, warn
from shared.launches import Launches
from shared.presence import present
from shared.redis.connection import Redis, connect
from shared.settings import FleetSettings

ANSWER_S = 3.0
TOLD = ("appendfsync", "min-replicas-to-write")
HERE = "redis"
NOT_ALLOWED = ("Authentication required", "username-password pair", "without any password configured")


async def visit(settings: FleetSettings) -> list[Finding]:
    """All findings of the server, and of the fleet that meets there."""
    async with connect(settings.redis_url, answer_s=ANSWER_S, retries=0) as redis:
        try:
            await redis.ping()
        except (RedisError, OSError) as error:
            return [_away(error)]
        findings = [ok(HERE, "it answers")]
        for look in (_server, _clock, _scripts):
            findings += await _looked(look(redis))
        if any(one.check == "scripts" and one.status == "fail" for one in findings):
            return findings
        return findings + await _looked(_fleet(redis, settings.lease_s))


def _away(error: Exception) -> Finding:
    # Of a connection that was refused for its password, redis-py keeps the text alone.
    if isinstance(error, AuthenticationError) or any(text in str(error) for text in NOT_ALLOWED):
        remedy = "Put the user and password that Redis has into REDIS_URL, percent-encoded."
        return fail(HERE, f"it refuses the password: {error}", remedy)
    remedy = "Start Redis, or point REDIS_URL at it; `make up` says where its own is."
    return fail(HERE, f"it does not answer: {error}", remedy)


async def _looked(look: Awaitable[list[Finding]]) -> list[Finding]:
    """What a look finds; that a server does not let one look is a finding as well."""
    try:
        return await look
    except (RedisError, Unavailable) as error:
        remedy = "Let this user use Redis as k8s/redis/valkey.conf does, or ask whoever runs it."
        return [fail(HERE, f"it refuses what the fleet needs: {error}", remedy)]


async def _server(redis: Redis) -> list[Finding]:
    try:
        info: dict[str, Any] = await redis.info()
    except NoPermissionError:
        remedy = "Allow INFO for as long as this takes, or look at the server's settings yourself."
        return [warn(HERE, "it does not tell how it is set up", remedy)]
    settings: dict[Any, Any] = {}
    for name in TOLD:
        try:
            settings |= dict(await redis.config_get(name))
        except ResponseError:
            break  # a server that somebody else runs may keep these to itself
    return redis_health.judge(info, settings)


async def _clock(redis: Redis) -> list[Finding]:
    before = time.time()
    seconds, microseconds = await redis.time()
    here = (before + time.time()) / 2
    return [redis_health.clock(here - (seconds + microseconds / 1e6))]


async def _scripts(redis: Redis) -> list[Finding]:
    """That the server runs a script on the keys of the fleet, which all stand in the slot of `{bot}`."""
    try:
        await redis.register_script("return redis.call('EXISTS', KEYS[1])")(keys=[LAUNCH])
    except MovedError as error:
        place = str(error).rpartition(" ")[2]
        return [fail("scripts", f"the keys with {{bot}} are at {place}", "Point REDIS_URL at that node.")]
    except ResponseError as error:
        return [fail("scripts", f"none can be run: {error}", "Allow EVALSHA and SCRIPT LOAD: k8s/redis/users.acl.")]
    return [ok("scripts", "they run, on the keys of the fleet")]


async def _fleet(redis: Redis, lease_s: float) -> list[Finding]:
    waiting = await Launches(redis).depth()
    stale = 0
    for stream in launch_streams(await known_agents.read(redis)):
        try:
            idle_ms = int(2 * lease_s * 1000)
            stale += len(await redis.xpending_range(stream, CLAIMS, "-", "+", 100, idle=idle_ms))
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
    return [*fleet_health.runners(await present(redis), waiting), fleet_health.leases(stale, lease_s)]
