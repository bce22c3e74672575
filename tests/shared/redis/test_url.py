"""Every form of `REDIS_URL` is read, and every other is refused without a word of it."""

from typing import Any

import pytest

from services.gateway.settings import GatewaySettings
from services.operator.settings import OperatorSettings
from services.runner.settings import RunnerSettings
from shared.errors import SettingsError
from shared.redis.url import RedisAddress, parse
from shared.settings import FleetSettings, load
from up.__main__ import UpSettings

HOSTS = (("a", 26379), ("b.example", 7), ("::1", 9))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://host", {"nodes": (("host", 6379),), "options": {"db": 0}}),
        ("redis://host/", {"nodes": (("host", 6379),), "options": {"db": 0}}),
        ("redis://10.0.0.1:7/3", {"nodes": (("10.0.0.1", 7),), "options": {"db": 3}}),
        ("redis://[::1]:7", {"nodes": (("::1", 7),), "options": {"db": 0}}),
        ("redis://host?db=2&client_name=x", {"nodes": (("host", 6379),), "options": {"db": 2, "client_name": "x"}}),
        ("redis://:p%40ss@host", {"nodes": (("host", 6379),), "options": {"db": 0, "password": "p@ss"}}),
        ("redis://:a@b:c@host", {"nodes": (("host", 6379),), "options": {"db": 0, "password": "a@b:c"}}),
        ("redis://u:p@host", {"nodes": (("host", 6379),), "options": {"db": 0, "username": "u", "password": "p"}}),
        ("rediss://host", {"tls": True, "nodes": (("host", 6379),), "options": {"db": 0}}),
        (
            "rediss://host?ssl_ca_certs=/ca.pem",
            {"tls": True, "nodes": (("host", 6379),), "options": {"db": 0, "ssl_ca_certs": "/ca.pem"}},
        ),
        (
            "rediss://host?ssl_cert_reqs=none",
            {
                "tls": True,
                "nodes": (("host", 6379),),
                "options": {"db": 0, "ssl_cert_reqs": "none", "ssl_check_hostname": False},
            },
        ),
        ("unix:///run/redis.sock", {"path": "/run/redis.sock", "options": {"db": 0}}),
        ("unix:///a%20b?db=4", {"path": "/a b", "options": {"db": 4}}),
        ("unix://:p@/a", {"path": "/a", "options": {"db": 0, "password": "p"}}),
        ("sentinel://a/bots", {"nodes": (("a", 26379),), "service": "bots", "options": {"db": 0}}),
        ("sentinel://a,b.example:7,[::1]:9/bots/2", {"nodes": HOSTS, "service": "bots", "options": {"db": 2}}),
        (
            "sentinel://u:p@a/my%2Fbots/0?sentinel_password=q&sentinel_username=v",
            {
                "nodes": (("a", 26379),),
                "service": "my/bots",
                "options": {"db": 0, "username": "u", "password": "p"},
                "sentinel_options": {"username": "v", "password": "q"},
            },
        ),
        (
            "sentinels://a/bots?ssl_cert_reqs=none",
            {
                "tls": True,
                "nodes": (("a", 26379),),
                "service": "bots",
                "options": {"db": 0, "ssl_cert_reqs": "none", "ssl_check_hostname": False},
                "sentinel_options": {"ssl_cert_reqs": "none", "ssl_check_hostname": False},
            },
        ),
    ],
)
def test_a_url_says_where_redis_is_and_how_to_be_let_in(url: str, expected: dict[str, Any]) -> None:
    assert parse(url) == RedisAddress(**expected)


BAD = {
    "SECRET": "must begin with redis://",
    "http://SECRET@host": "must begin with redis://",
    "redis:/SECRET": "must begin with redis://",
    "redis://": "must name a host",
    "redis://:SECRET@": "must name a host",
    "redis://:SECRET@host:port": "must name a host",
    "redis://:SEC/RET@host": "must name a host",
    "redis://:SECRET@host:0": "must have a port",
    "redis://:SECRET@host:65536": "must have a port",
    "redis://:SECRET@host/SECRET": "must have a number as database",
    "redis://:SECRET@host/-1": "must have a number as database",
    "redis://host/0/1": "must have a number as database",
    "redis://:SECRET@host?db=SECRET": "must have a number as database",
    "redis://:SECRET@a,b": "must name one server",
    "redis://host?decode_responses=SECRET": "may have no options but client_name, db, password, username",
    "redis://host?ssl_ca_certs=SECRET": "may have no options",
    "redis://host?sentinel_password=SECRET": "may have no options",
    "redis://:SEC?RET@host": "must have its options as",
    "redis://host?SECRET": "must have its options as",
    "rediss://host?ssl_cert_reqs=SECRET": "must have none or required",
    "unix://SECRET/redis.sock": "whole path",
    "unix://": "whole path",
    "sentinel://:SECRET@a:1": "must name the service",
    "sentinel://a:1,/bots": "must name a host",
    "sentinel://a:1;b:2/bots": "must name a host",
    "sentinel://a/bots/SECRET": "must have a number as database",
}


@pytest.mark.parametrize("url", BAD)
@pytest.mark.parametrize("kind", [FleetSettings, GatewaySettings, OperatorSettings, RunnerSettings, UpSettings])
def test_settings_refuse_any_other_by_the_variables_name_and_do_not_repeat_it(
    kind: type[FleetSettings], url: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(kind, {"REDIS_URL": url})
    assert str(refused.value).startswith("REDIS_URL: ")
    assert BAD[url] in str(refused.value)
    assert "SEC" not in str(refused.value)


def test_an_address_shows_no_password() -> None:
    address = parse("sentinel://:SECRET-1@a/bots?sentinel_password=SECRET-2")
    assert "SECRET" not in repr(address)


@pytest.mark.parametrize("kind", [FleetSettings, GatewaySettings, OperatorSettings, RunnerSettings])
def test_the_default_is_a_form_like_any_other(kind: type[FleetSettings]) -> None:
    assert parse(load(kind, {}).redis_url).options == {"db": 0}
