"""`rediss://` and `sentinels://`, with a certificate that is checked."""

import datetime as dt
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.errors import Unavailable
from shared.redis.connection import connect, translated
from tests import machine
from tests.processes import free_port
from tests.redis_server import RedisServer
from tests.sentinel import SENTINEL_PASSWORD, SERVICE, Sentinel, until_true


@dataclass(frozen=True)
class Certificate:
    """For 127.0.0.1, signed by itself."""

    key: Path
    certificate: Path


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    today = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Certificate(tmp_path / "key.pem", tmp_path / "certificate.pem")
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.key.write_bytes(private)
    files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return files


@pytest.fixture
def ports(certificate: Certificate, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Those of a server and of its sentinel; neither has one without TLS. The embedded Valkey cannot do it."""
    program = machine.need("redis-server")
    port, sentinel_port = free_port(), free_port()
    files = [
        ("tls-cert-file", str(certificate.certificate)),
        ("tls-key-file", str(certificate.key)),
        ("tls-ca-cert-file", str(certificate.certificate)),
        ("tls-auth-clients", "no"),
    ]
    options = [word for name, value in files for word in (f"--{name}", value)]
    server = RedisServer(program, tmp_path, "--tls-port", str(port), "--bind", "127.0.0.1", *options)
    sentinel = Sentinel(
        program,
        tmp_path,
        "port 0",
        f"tls-port {sentinel_port}",
        "tls-replication yes",
        *(f"{name} {value}" for name, value in files),
        f"requirepass {SENTINEL_PASSWORD}",
        f"sentinel monitor {SERVICE} 127.0.0.1 {port} 1",
    )
    try:
        server.start()
        sentinel.start()
        until_true(lambda: bool(sentinel.ask("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)))
        yield port, sentinel_port
    finally:
        sentinel.kill()
        server.kill()


def urls(ports: tuple[int, int], options: str) -> list[str]:
    port, sentinel_port = ports
    password = f"sentinel_password={SENTINEL_PASSWORD}"
    return [
        f"rediss://127.0.0.1:{port}/1?{options}",
        f"sentinels://127.0.0.1:{sentinel_port}/{SERVICE}/1?{password}&{options}",
    ]


async def test_a_server_with_a_known_certificate_is_talked_to(ports: tuple[int, int], certificate: Certificate) -> None:
    for url in urls(ports, f"ssl_ca_certs={certificate.certificate}"):
        async with connect(url, retries=0) as redis:
            await redis.set("key", url)
            assert await redis.get("key") == url


async def test_a_server_with_an_unknown_certificate_is_not(ports: tuple[int, int]) -> None:
    for url in urls(ports, ""):
        async with connect(url.rstrip("?&"), retries=0) as redis:
            with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"), translated():
                await redis.ping()


async def test_a_server_with_an_unknown_certificate_is_when_everyone_is_trusted(ports: tuple[int, int]) -> None:
    for url in urls(ports, "ssl_cert_reqs=none"):
        async with connect(url, retries=0) as redis:
            assert await redis.ping()


async def test_a_server_that_speaks_tls_is_unavailable_without(ports: tuple[int, int]) -> None:
    async with connect(f"redis://127.0.0.1:{ports[0]}", retries=0) as redis:
        with pytest.raises(Unavailable), translated():
            await redis.ping()


async def test_a_certificate_for_another_name_is_not_enough(ports: tuple[int, int], certificate: Certificate) -> None:
    (plain, _) = urls(ports, f"ssl_ca_certs={certificate.certificate}")
    async with connect(plain.replace("127.0.0.1", "localhost"), retries=0) as redis:
        with pytest.raises(Unavailable, match="Hostname mismatch"), translated():
            await redis.ping()


async def test_a_server_that_wants_a_certificate_of_its_clients_is_shown_one(
    certificate: Certificate, tmp_path: Path
) -> None:
    port = free_port()
    files = {"cert-file": certificate.certificate, "key-file": certificate.key, "ca-cert-file": certificate.certificate}
    options = [word for name, file in files.items() for word in (f"--tls-{name}", str(file))]
    wanted = ("--tls-port", str(port), "--bind", "127.0.0.1", "--tls-auth-clients", "yes")
    server = RedisServer(machine.need("redis-server"), tmp_path, *wanted, *options)
    url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate.certificate}"
    try:
        server.start()
        async with connect(f"{url}&ssl_certfile={certificate.certificate}&ssl_keyfile={certificate.key}") as redis:
            assert await redis.ping()
        async with connect(url, retries=0) as redis:
            with pytest.raises(Unavailable), translated():
                await redis.ping()
    finally:
        server.kill()
