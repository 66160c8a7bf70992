"""The way to a host, measured on real sockets of this machine."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from device_agent.adapters import network_probe
from device_agent.adapters.network_probe import probe, probe_target
from device_agent.drivers.network_target import NetworkTarget


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "host.crt").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "host.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    return folder / "host.crt", folder / "host.key"


@pytest.fixture
def tls_port(credentials: tuple[Path, Path]) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*credentials)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                        secured.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_a_good_way_is_timed_in_three_parts(tls_port: int, credentials: tuple[Path, Path]) -> None:
    found = probe("localhost", tls_port, ca=credentials[0])
    assert found.dns.ok
    assert found.tcp is not None
    assert found.tcp.ok
    assert found.tls is not None
    assert found.tls.ok, found.tls.detail
    assert found.tls.detail == "TLSv1.3"
    assert found.tls.ms > 0


def test_a_name_of_its_own_is_judged_and_the_host_tried_all_the_same(
    tls_port: int, credentials: tuple[Path, Path]
) -> None:
    target = NetworkTarget("localhost", tls_port, credentials[0], dns_name="no-such-host.invalid")
    found = probe_target(target, "", 0)
    assert (found.dns.ok, found.tls is not None and found.tls.ok) == (False, True)
    assert probe_target(target, "localhost", tls_port).dns.ok, "a host that is asked about is resolved itself"


def test_a_certificate_of_a_stranger_fails_the_handshake_only(tls_port: int) -> None:
    found = probe("localhost", tls_port)
    assert found.tcp is not None
    assert found.tcp.ok
    assert found.tls is not None
    assert not found.tls.ok
    assert "certificate" in found.tls.detail


def test_a_port_nobody_listens_on_is_refused() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    found = probe("127.0.0.1", port)
    assert found.tcp is not None
    assert (found.tcp.ok, found.tcp.detail) == (False, "connection refused")
    assert found.tls is None


def test_a_host_that_accepts_and_says_nothing_fails_in_time() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        found = probe("127.0.0.1", listener.getsockname()[1], tls_timeout_s=0.2)
    assert found.tls is not None
    assert not found.tls.ok
    assert found.tls.ms < 5_000


def test_a_name_that_does_not_exist_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    found = probe("no-such-host.invalid", 443)
    assert (found.dns.ok, found.dns.detail, found.tcp) == (False, "Name or service not known", None)


def test_a_resolver_that_hangs_costs_its_time_and_a_bounded_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hangs(*_: object, **__: object) -> object:
        released.wait(20)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    monkeypatch.setattr(network_probe, "_resolving", threading.BoundedSemaphore(2))
    details = [probe("host.example", 443, dns_timeout_s=0.05).dns.detail for _ in range(4)]
    released.set()
    assert ["no answer from the resolver" in each for each in details] == [True, True, False, False]
    assert "resolver hangs" in details[3]
