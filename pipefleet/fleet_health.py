"""Whether the fleet does its work: decided from who is there, and from what waits."""

from collections.abc import Sequence

from shared.contract import Presence
from shared.findings import Finding, fail, ok, warn


def runners(found: Sequence[Presence], waiting: int) -> list[Finding]:
    """Those that are there."""
    if not found:
        waits = f", and {waiting} sessions wait" if waiting else ""
        remedy = "Start one: python -m services.runner, or kubectl apply -k k8s/. With WARM_MIN=0 it may be so."
        return [fail("runners", f"none is there{waits}", remedy)]
    free = sum(one.free for one in found)
    findings = [ok("runners", f"{len(found)}, with {free} slots free")]
    if waiting and not free:
        remedy = "Start more runners, or raise WARM_MAX or COLD_MAX of the operator."
        findings = [warn("runners", f"{waiting} sessions wait, and no slot of {len(found)} runners is free", remedy)]
    broken = {one.error for one in found if one.error}
    for error in sorted(broken):
        where = ", ".join(one.runner for one in found if one.error == error)
        remedy = "Mend the bot, and start these runners again: its sessions fail at once unless others can serve them."
        findings.append(fail("bots of runners", f"{where}: {error}", remedy))
    versions = sorted({one.version for one in found})
    if len(versions) > 1:
        remedy = "Finish the deploy, or drain the older ones: pipefleet drain RUNNER."
        findings.append(warn("versions", f"runners of {', '.join(versions)} side by side", remedy))
    return findings


def leases(stale: int, lease_s: float) -> Finding:
    """Launches whose runner has been silent for twice as long as it may."""
    if not stale:
        return ok("leases", "none is stale")
    remedy = "Start an operator or a runner: any of them frees such sessions."
    return fail("leases", f"{stale} are older than {2 * lease_s:g} s, and nobody has freed them", remedy)
