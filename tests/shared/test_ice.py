"""What both ends of a WebRTC call are told of STUN and TURN."""

import pytest

from services.gateway.settings import GatewaySettings
from services.runner.settings import RunnerSettings
from shared.errors import SettingsError
from shared.ice import IceServer, ice_servers
from shared.settings import load


def test_a_credential_is_what_coturn_computes_from_the_same_secret_and_name() -> None:
    """By `printf %s 1800000000:ada | openssl dgst -sha1 -hmac north -binary | base64`."""
    assert ice_servers(("turn:t.example",), "north", "ada", 1800000000.9) == [
        IceServer(urls=["turn:t.example"], username="1800000000:ada", credential="RgrCQ8LW/vH5U93IENfd8YxpOx0=")
    ]


def test_stun_servers_come_first_and_without_a_credential() -> None:
    servers = ice_servers(("turn:t", "stun:a", "turns:t:443?transport=tcp", "stun:b:3478"), "s", "x", 0)
    assert [server.urls for server in servers] == [["stun:a", "stun:b:3478"], ["turn:t", "turns:t:443?transport=tcp"]]
    assert (servers[0].username, servers[0].credential) == ("", "")


def test_without_servers_there_are_none() -> None:
    assert ice_servers((), "secret", "x", 0) == []


@pytest.mark.parametrize("kind", [GatewaySettings, RunnerSettings])
@pytest.mark.parametrize(
    ("urls", "secret", "complaint"),
    [
        ("http://t.example", "s", "ICE_SERVERS: expected stun:host:port"),
        ("stun:a.example,turn:", "s", "ICE_SERVERS: expected"),
        ("turn:user@t.example", "s", "ICE_SERVERS: expected"),
        ("turn:t.example?transport=sctp", "s", "ICE_SERVERS: expected"),
        ("stun:a.example,turn:t.example", "", "TURN_SECRET: is not set, and turn:t.example"),
    ],
)
def test_servers_with_which_no_call_can_be_made_stop_the_service(
    kind: type[GatewaySettings] | type[RunnerSettings], urls: str, secret: str, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        load(kind, {"ICE_SERVERS": urls, "TURN_SECRET": secret})
