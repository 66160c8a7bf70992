"""Who plays services and devices: certificates of minutes made by this installation's authority, or those given.

Invariant: keys made here are never on disk longer than it takes to load them.
"""

from __future__ import annotations

import secrets
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from fleet_server.broker.probe.client import Identity, Place
from fleet_server.broker.probe.errors import BrokerNotAskable
from fleet_server.broker.probe.stage import Cast
from fleet_server.enrollment.authority import Issued
from fleet_server.enrollment.private_files import write_private
from fleet_server.issuer.opening import opened_issuer
from fleet_server.kit.times import utc_now
from fleet_server.settings import load_settings
from protocol.broker_rules import PROBE_NAMES, PROBE_PREFIX

_PORTS = {"mqtts": 8883, "mqtt": 1883}
CertificateAndKey = tuple[Path, Path]


def place_of(url: str, data: Path) -> Place:
    """Without a URL: the broker of this installation. Raises ``BrokerNotAskable``."""
    if not url:
        settings = load_settings(data)
        return Place(settings.mqtt_host, settings.mqtt_port, tls=True)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise BrokerNotAskable(f"expected mqtts://HOST:PORT, came {url[:200]!r}: {error}") from error
    if parts.scheme not in _PORTS or not host or parts.username is not None:
        raise BrokerNotAskable(f"expected mqtts://HOST:PORT without user and password, came {url[:200]!r}")
    return Place(host, port or _PORTS[parts.scheme], tls=parts.scheme == "mqtts")


def own_cast(data: Path) -> Cast:
    """Two services and two devices that are nobody's, certified by the installation's issuer."""
    settings = load_settings(data)
    if not settings.issuing_chain_file.exists():
        raise BrokerNotAskable(f"{settings.issuing_chain_file} is not here: give --cert and --key")
    devices = [f"{PROBE_PREFIX}{secrets.token_hex(8)}" for _ in range(2)]
    with opened_issuer(settings) as authority, tempfile.TemporaryDirectory(prefix="tillmedic-") as folder:

        def identity(name: str) -> Identity:
            issued = authority.issue_probe(name, utc_now())
            return Identity(name, _context_of(issued, authority.certificate_pem, Path(folder) / name))

        return Cast([identity(name) for name in PROBE_NAMES], [identity(name) for name in devices])


def given_cast(ca: Path | None, services: Sequence[CertificateAndKey], devices: Sequence[CertificateAndKey]) -> Cast:
    return Cast([_given(ca, one) for one in services], [_given(ca, one) for one in devices])


def nameless_cast() -> Cast:
    """For a broker without TLS, which can tell nobody apart."""
    names = [f"{PROBE_PREFIX}{secrets.token_hex(8)}" for _ in range(4)]
    identities = [Identity(name, None) for name in names]
    return Cast(identities[:2], identities[2:])


def _given(ca: Path | None, files: CertificateAndKey) -> Identity:
    certificate, key = files
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        context.load_cert_chain(certificate, key)
        subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject
    except (OSError, ValueError) as error:
        raise BrokerNotAskable(f"{certificate} and {key} cannot be used: {error}") from error
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names:
        raise BrokerNotAskable(f"{certificate}: expected a common name, found none")
    return Identity(str(names[0].value), context)


def _context_of(issued: Issued, authority_pem: bytes, place: Path) -> ssl.SSLContext:
    certificate, key = place.with_suffix(".crt"), place.with_suffix(".key")
    write_private(certificate, issued.certificate_pem)
    write_private(key, issued.key_pem)
    context = ssl.create_default_context(cadata=authority_pem.decode("ascii"))
    context.load_cert_chain(certificate, key)
    return context
