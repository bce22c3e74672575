"""Whether Redis is one that a fleet can rely on: decided from what the server says of itself."""

import re
from collections.abc import Mapping
from typing import Any

from shared.findings import Finding, fail, ok, warn

REDIS_FROM, VALKEY_FROM = (7,), (8,)
CLOCK_WARN_S, CLOCK_FAIL_S = 1.0, 10.0
MEMORY_WARN, MEMORY_FAIL = 0.8, 0.95
KEEP_ALL = "appendonly yes and appendfsync always"

Info = Mapping[str, Any]


def judge(info: Info, settings: Mapping[str, str]) -> list[Finding]:
    """All that follows from `INFO` and `CONFIG GET`; `settings` is empty where the server does not tell them."""
    return [version(info), persistence(info, settings), eviction(info), memory(info), replicas(info, settings)]


def version(info: Info) -> Finding:
    """Streams and scripts as the fleet uses them came with these versions."""
    valkey = info.get("valkey_version") or (info.get("server_name") == "valkey" and info.get("redis_version"))
    name, text, needed = ("Valkey", valkey, VALKEY_FROM) if valkey else ("Redis", info["redis_version"], REDIS_FROM)
    has = tuple(int(number) for number in re.findall(r"\d+", str(text)))
    if has < needed:
        return fail("redis version", f"{name} {text}", "Use Redis 7 or newer, or Valkey 8 or newer.")
    return ok("redis version", f"{name} {text}")


def persistence(info: Info, settings: Mapping[str, str]) -> Finding:
    """What was answered 202 is as durable as this."""
    check = "redis persistence"
    if not int(info["aof_enabled"]):
        found = "there is no append-only file: when Redis dies, accepted sessions are lost"
        return fail(check, found, f"Set {KEEP_ALL}.")
    if info.get("aof_last_write_status", "ok") != "ok":
        return fail(check, "the last write of the append-only file has failed", "See the disk that it is on.")
    sync = settings.get("appendfsync")
    if sync is None:
        return ok(check, "there is an append-only file; how often it is synced the server does not tell")
    if sync != "always":
        found = f"appendfsync is {sync}: the last second or more can be lost"
        return warn(check, found, "Set appendfsync always, unless that much may be lost.")
    return ok(check, "an append-only file, synced with each write")


def eviction(info: Info) -> Finding:
    """A server that makes room by itself forgets sessions."""
    policy = info["maxmemory_policy"]
    if policy == "noeviction":
        return ok("redis eviction", "nothing is thrown away")
    found = f"maxmemory-policy is {policy}: sessions are thrown away when memory is short"
    return (fail if int(info["maxmemory"]) else warn)("redis eviction", found, "Set maxmemory-policy noeviction.")


def memory(info: Info) -> Finding:
    """A full server accepts no session."""
    used, most = int(info["used_memory"]), int(info["maxmemory"]) or int(info.get("total_system_memory", 0))
    if not most:
        return ok("redis memory", f"{used >> 20} MiB used")
    share = used / most
    found = f"{used >> 20} of {most >> 20} MiB used ({share:.0%})"
    remedy = "Give Redis more memory: when it is full, nothing is accepted."
    if share >= MEMORY_WARN:
        return (fail if share >= MEMORY_FAIL else warn)("redis memory", found, remedy)
    return ok("redis memory", found)


def replicas(info: Info, settings: Mapping[str, str]) -> Finding:
    """A primary that was cut off must not accept what its successor will not know."""
    check, role = "redis replicas", info.get("role", "master")
    count = int(info.get("connected_slaves", 0))
    if role not in {"master", "primary"}:
        return fail(check, "this is a replica, which takes no writes", "Point REDIS_URL at the primary or at Sentinel.")
    if not count:
        return ok(check, "none")
    if settings.get("min-replicas-to-write", settings.get("min-slaves-to-write")) == "0":
        found = f"{count}, and a primary that loses them goes on to accept what can be lost"
        return warn(check, found, "Set min-replicas-to-write 1.")
    return ok(check, f"{count}")


def clock(ahead_s: float) -> Finding:
    """How far this machine is ahead of the server. Deadlines, and credentials that expire, are told by both."""
    found = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} Redis"
    remedy = "Set the clocks of both machines by NTP."
    if abs(ahead_s) < CLOCK_WARN_S:
        return ok("clock", f"{abs(ahead_s) * 1000:.0f} ms from that of Redis")
    return (fail if abs(ahead_s) >= CLOCK_FAIL_S else warn)("clock", found, remedy)
