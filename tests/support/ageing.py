"""Lets an installation grow older without waiting: every certificate and list is made again with the same name, key,
serial number and signer, and an earlier life. No clock is touched, so real brokers and processes find it lapsed.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet_server.enrollment.authority import Authority, Root
from fleet_server.enrollment.private_files import write_private
from fleet_server.kit.times import utc_now

NONE = timedelta(0)


@dataclass
class Ages:
    """By how much each kind is older; below zero: made by a clock that was ahead."""

    root: timedelta = NONE
    issuing: timedelta = NONE
    own: timedelta = NONE  # of broker, console and services
    revoked: timedelta = NONE  # the list of revoked certificates
    devices: dict[Path, timedelta] = field(default_factory=dict)  # by bundle


def age(data: Path, root_key: bytes, ages: Ages) -> None:
    """The installation in ``data``; nothing of it may run."""
    keys, issuer, tls = data / "server" / "keys", data / "server" / "issuer", data / "server" / "tls"
    root = Root.from_pem((keys / "ca.crt").read_bytes(), root_key)
    root = Root(_older(root.certificate, root.key, ages.root), root.key)
    issuing = Authority.from_pem((issuer / "issuing.crt").read_bytes(), (issuer / "issuing.key").read_bytes())
    issuing = Authority(_older(issuing.certificate, root.key, ages.issuing), issuing.key, root.certificate)
    write_private(keys / "ca.crt", root.certificate_pem)
    write_private(tls / "ca.crt", root.certificate_pem)
    write_private(issuer / "issuing.crt", issuing.chain_pem)
    for path in (*tls.glob("svc-*.crt"), tls / "broker.crt", tls / "http.crt"):
        write_private(path, _older_leaf(path.read_bytes(), issuing, ages.own))
    write_private(tls / "ca.crl", issuing.revocation_list((), utc_now() - ages.revoked))
    with closing(sqlite3.connect(issuer / "ledger.db")) as ledger, ledger:
        for bundle, by in ages.devices.items():
            older = _older_leaf((bundle / "client.crt").read_bytes(), issuing, by)
            write_private(bundle / "client.crt", older)
            _enter(ledger, older)


def _enter(ledger: sqlite3.Connection, pem: bytes) -> None:
    certificate = x509.load_pem_x509_certificate(pem)
    serial, end_s = f"{certificate.serial_number:x}", certificate.not_valid_after_utc.timestamp()
    ledger.execute("UPDATE identity SET pem = ?, not_after = ? WHERE serial = ?", (pem, end_s, serial))
    ledger.execute("UPDATE certificate SET not_after = ? WHERE serial = ?", (end_s, serial))


def _older_leaf(pem: bytes, issuing: Authority, by: timedelta) -> bytes:
    leaf = _older(x509.load_pem_x509_certificate(pem), issuing.key, by)
    return leaf.public_bytes(serialization.Encoding.PEM) + issuing.issuing_pem


def _older(certificate: x509.Certificate, signer: ec.EllipticCurvePrivateKey, by: timedelta) -> x509.Certificate:
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    builder = x509.CertificateBuilder().subject_name(certificate.subject).issuer_name(certificate.issuer)
    builder = builder.public_key(public).serial_number(certificate.serial_number)
    builder = builder.not_valid_before(certificate.not_valid_before_utc - by)
    builder = builder.not_valid_after(certificate.not_valid_after_utc - by)
    for one in certificate.extensions:
        builder = builder.add_extension(one.value, one.critical)
    return builder.sign(signer, hashes.SHA256())
