"""The forms of `REDIS_URL`.

    redis://[[user]:password@]host[:6379][/database]
    rediss://…                                                the same over TLS
    unix://[[user]:password@]/path/to/socket[?db=database]
    sentinel://[[user]:password@]host[:26379][,host[:26379]…]/service[/database]
    sentinels://…                                             the same, with servers and sentinels over TLS

User and password are those of the Redis servers; sentinels that want one have `?sentinel_password=`, and
`sentinel_username=`. Over TLS there are `ssl_ca_certs=`, `ssl_certfile=` and `ssl_keyfile=` with a file each, and
`ssl_cert_reqs=none`, which trusts everyone. What has a meaning in a URL is percent-encoded.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote

REDIS_PORT = 6379
SENTINEL_PORT = 26379
SCHEMES = ("redis", "rediss", "unix", "sentinel", "sentinels")

Node = tuple[str, int]

_NODE = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_LOGIN = {"db", "username", "password", "client_name"}
_TLS = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"}
_SENTINEL = {"sentinel_username", "sentinel_password"}


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is, and how to be let in. `options` and `sentinel_options` are arguments of a connection."""

    tls: bool = False
    path: str = ""
    """The unix socket; otherwise one is found at `nodes`."""
    nodes: tuple[Node, ...] = ()
    """The server; or the sentinels that know it, when there is a `service`."""
    service: str = ""
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    sentinel_options: dict[str, Any] = field(default_factory=dict, repr=False)


def parse(url: str) -> RedisAddress:
    """Read a URL. Nothing is connected, and no name looked up.

    Raises:
        ValueError: it has none of the forms; the text says what was expected, without any part of the URL.
    """
    scheme, found, rest = url.partition("://")
    if not found or scheme not in SCHEMES:
        _refuse(f"must begin with {', '.join(f'{name}://' for name in SCHEMES[:-1])} or {SCHEMES[-1]}://")
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    login, _, hosts = authority.rpartition("@")
    options = _options(scheme, query) | _login(login)
    if scheme == "unix":
        if hosts or not path:
            _refuse("must name the socket's file by its whole path, as in unix:///run/redis.sock")
        return RedisAddress(path=f"/{unquote(path)}", options=_with_database(options, ""))
    if scheme in {"sentinel", "sentinels"}:
        return _watched(scheme == "sentinels", hosts, path, options)
    if "," in hosts:
        _refuse("must name one server; several are for sentinel://")
    nodes = (_node(hosts, REDIS_PORT),)
    return RedisAddress(tls=scheme == "rediss", nodes=nodes, options=_with_database(options, path))


def _watched(tls: bool, hosts: str, path: str, options: dict[str, Any]) -> RedisAddress:
    service, _, database = path.partition("/")
    if not service:
        _refuse("must name the service that the sentinels watch, as in sentinel://host:26379/service")
    theirs = {name.removeprefix("sentinel_"): options.pop(name) for name in sorted(_SENTINEL & options.keys())}
    return RedisAddress(
        tls=tls,
        nodes=tuple(_node(host, SENTINEL_PORT) for host in hosts.split(",")),
        service=unquote(service),
        options=_with_database(options, database),
        sentinel_options=theirs | {name: value for name, value in options.items() if name.startswith("ssl_")},
    )


def _login(text: str) -> dict[str, Any]:
    user, _, password = text.partition(":")
    return {name: unquote(value) for name, value in (("username", user), ("password", password)) if value}


def _options(scheme: str, query: str) -> dict[str, Any]:
    known = _LOGIN | (_TLS if scheme in {"rediss", "sentinels"} else set())
    known |= _SENTINEL if scheme in {"sentinel", "sentinels"} else set()
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        _refuse("must have its options as ?name=value&name=value")
    options: dict[str, Any] = dict(pairs)
    if not options.keys() <= known:
        _refuse(f"may have no options but {', '.join(sorted(known))}")
    if options.get("ssl_cert_reqs", "none") not in {"none", "required"}:
        _refuse("must have none or required as ssl_cert_reqs")
    if options.get("ssl_cert_reqs") == "none":
        options["ssl_check_hostname"] = False
    return options


def _with_database(options: dict[str, Any], path: str) -> dict[str, Any]:
    number = options.get("db", path.removesuffix("/")) or "0"
    if not (number.isascii() and number.isdecimal()):
        _refuse("must have a number as database")
    return {**options, "db": int(number)}


def _node(text: str, port: int) -> Node:
    match = _NODE.fullmatch(text)
    if match is None:
        _refuse("must name a host, or host:port")
    number = int(match["port"] or port)
    if not 1 <= number <= 65535:
        _refuse("must have a port from 1 to 65535")
    return match["host"].strip("[]"), number


def _refuse(complaint: str) -> NoReturn:
    raise ValueError(complaint)
