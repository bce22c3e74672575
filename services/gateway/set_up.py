"""What can be found of a gateway's set-up without a gateway: `python -m services.gateway.set_up`."""

from services.gateway.settings import GatewaySettings, loopback
from shared.findings import Finding, of_settings, ok, tell, warn


def judge(settings: GatewaySettings) -> list[Finding]:
    """Who may do what."""
    if settings.admin_keys:
        return [ok("keys", "requests need a key")]
    if settings.join_keys:
        found = "with JOIN_KEYS alone nobody may read, command or end a session"
        return [warn("keys", found, "Set ADMIN_KEYS, to something long and random.")]
    if loopback(settings.gateway_host):
        return [ok("keys", "none, and it listens to this machine alone")]
    found = f"GATEWAY_WITHOUT_KEYS: whoever reaches {settings.gateway_host} may do everything"
    return [warn("keys", found, "Set JOIN_KEYS and ADMIN_KEYS, unless the port is published to this machine alone.")]


if __name__ == "__main__":
    tell(of_settings("gateway", GatewaySettings, judge))
