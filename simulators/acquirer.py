"""Stands in for an acquirer's host: a TLS server on loopback that shakes hands and hangs up, with a CA of its own.

Enough for the check of the network path. `is_answering` false: the port is there and nobody shakes hands, which is how
an overloaded host looks from a terminal.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HANDSHAKE_S = 5.0
_CERTIFICATE_DAYS = 30
_MAX_WAITING = 16


class AcquirerHost:
    def __init__(self, folder: Path) -> None:
        """``folder`` gets ``ca.crt`` for those who want to trust it, and the host's own certificate and key."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.ca_file = folder / "ca.crt"
        self.is_answering = True
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*_make_certificate(folder, self.ca_file))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_MAX_WAITING)
        self._thread = threading.Thread(target=self._serve, name="acquirer", daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=_HANDSHAKE_S)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # stopped
            with connection:
                connection.settimeout(_HANDSHAKE_S)
                if self.is_answering:
                    self._shake_hands(connection)

    def _shake_hands(self, connection: socket.socket) -> None:
        # A terminal that hangs up in the middle is none of our business.
        with contextlib.suppress(OSError), self._context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)


def _make_certificate(folder: Path, ca_file: Path) -> tuple[Path, Path]:
    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Simulated acquirer CA")])
    issued = (
        x509.CertificateBuilder()
        .issuer_name(ca_name)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_CERTIFICATE_DAYS))
    )
    authority = x509.BasicConstraints(ca=True, path_length=0)
    ca = (
        issued.subject_name(ca_name)
        .serial_number(x509.random_serial_number())
        .public_key(ca_key.public_key())
        .add_extension(authority, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    host = (
        issued.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .add_extension(names, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    certificate_file, key_file = folder / "host.crt", folder / "host.key"
    certificate_file.write_bytes(host.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.touch(mode=0o600)
    key_file.write_bytes(key.private_bytes(pem, form, plain))
    return certificate_file, key_file
