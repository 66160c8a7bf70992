"""The installation's own certificate authority: P-256, one level.

Invariant: a certificate of a link carries an enrolled id and never a ``svc-`` name; client and server certificates
cannot stand in for each other; no leaf lives longer than `LEAF_LIFE`. Files are left to `enrollment.tls_files`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_server.enrollment.errors import NameNotEnrollable
from protocol.broker_rules import PROBE_NAMES, SERVICE_NAMES
from protocol.identifiers import is_identifier

LEAF_LIFE = timedelta(days=90)
_CA_LIFE = timedelta(days=3650)
# With a list that has lapsed the broker lets nobody in: it lives as long as the broker's own certificate, and is
# renewed in a third of that.
CRL_LIFE = LEAF_LIFE
# Long enough to ask a broker everything, too short to be worth stealing.
_PROBE_LIFE = timedelta(minutes=10)
# A peer's clock may be a little behind ours.
_BACKDATED = timedelta(hours=1)


class Usage(Enum):
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
    SERVER = ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, slots=True)
class Issued:
    certificate_pem: bytes
    key_pem: bytes
    serial: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, now: datetime) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tillmedic installation CA")])
        builder = _builder(name, name, key.public_key(), now, now + _CA_LIFE)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def from_pem(cls, certificate_pem: bytes, key_pem: bytes) -> Authority:
        key = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"expected a P-256 key, came {type(key).__name__}")
        return cls(x509.load_pem_x509_certificate(certificate_pem), key)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return _key_pem(self.key)

    def issue_link(self, link_id: str, now: datetime) -> Issued:
        """For a device. Raises ``NameNotEnrollable`` for a name that could match other links' topics or a service."""
        if not is_identifier(link_id):
            raise NameNotEnrollable(f"expected an id of 8 to 64 of a-z, 0-9 and '-', came {link_id[:80]!r}")
        return self._issue(link_id, Usage.CLIENT, now, ())

    def issue_service(self, name: str, now: datetime) -> Issued:
        if name not in SERVICE_NAMES:
            raise NameNotEnrollable(f"expected one of {', '.join(SERVICE_NAMES)}, came {name[:80]!r}")
        return self._issue(name, Usage.CLIENT, now, ())

    def issue_probe(self, name: str, now: datetime) -> Issued:
        """For minutes, to ask a broker what it does: one of the probe's own services, or a device that is nobody's."""
        if name not in PROBE_NAMES and not is_identifier(name):
            raise NameNotEnrollable(f"expected one of {', '.join(PROBE_NAMES)} or an id, came {name[:80]!r}")
        return self._issue(name, Usage.CLIENT, now, (), life=_BACKDATED + _PROBE_LIFE)

    def revocation_list(self, serials: Collection[int], now: datetime) -> bytes:
        """Signed, as PEM. The broker refuses certificates whose serial numbers are in it."""
        begin = now - _BACKDATED
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(begin).next_update(begin + CRL_LIFE)
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(authority_id, critical=False)
        builder = builder.add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        for serial in sorted(serials):
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(begin).build()
            builder = builder.add_revoked_certificate(revoked)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue_server(self, hosts: Iterable[str], now: datetime) -> Issued:
        """``hosts``: names and addresses that clients connect to."""
        names = list(dict.fromkeys(hosts))
        return self._issue(names[0], Usage.SERVER, now, names)

    def _issue(
        self, common_name: str, usage: Usage, now: datetime, hosts: Iterable[str], life: timedelta = LEAF_LIFE
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        # Certificates count whole seconds.
        not_after = min((now - _BACKDATED + life).replace(microsecond=0), self.certificate.not_valid_after_utc)
        builder = _builder(subject, self.certificate.subject, key.public_key(), now, not_after)
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        alternatives = [_general_name(host) for host in hosts]
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage.value]), critical=False)
        builder = builder.add_extension(authority_id, critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return Issued(pem, _key_pem(key), f"{certificate.serial_number:x}", not_after)


def due_for_renewal(certificate_pem: bytes, now: datetime) -> bool:
    """Past two thirds of its life, or not readable."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        return True
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= begin + (end - begin) * 2 / 3


def is_list_due(crl_pem: bytes, authority: Authority, serials: Collection[int], now: datetime) -> bool:
    """Past a third of its life, of another authority, or not naming just ``serials``."""
    try:
        found = x509.load_pem_x509_crl(crl_pem)
        is_ours = found.is_signature_valid(authority.key.public_key())
    except (ValueError, TypeError):
        return True
    begin, end = found.last_update_utc, found.next_update_utc
    is_old = end is None or now >= begin + (end - begin) / 3
    return is_old or not is_ours or {entry.serial_number for entry in found} != set(serials)


def hosts_of(certificate_pem: bytes) -> frozenset[str]:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return frozenset()
    return frozenset(str(name.value) for name in names)


def is_issued_by(certificate_pem: bytes, authority: Authority) -> bool:
    try:
        x509.load_pem_x509_certificate(certificate_pem).verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _BACKDATED).not_valid_after(not_after)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
