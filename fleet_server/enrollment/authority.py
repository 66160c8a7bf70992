"""The installation's own certificate authority: P-256, a root that may lie in a drawer and an issuing one below it.

What is trusted is the root; peers send the issuing certificate with their own.

Invariant: a certificate of a link carries an enrolled id and never a ``svc-`` name; client and server certificates
cannot stand in for each other; no leaf lives longer than `LEAF_LIFE`. Files are left to `enrollment.tls_files`, who may
have what to `fleet_server.issuer`.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_server.enrollment.errors import AuthorityLapsed, NameNotEnrollable
from protocol.broker_rules import PROBE_NAMES, PROBE_PREFIX, SERVICE_NAMES
from protocol.identifiers import is_identifier

LEAF_LIFE = timedelta(days=90)
_LEVELS = 2
_ROOT_LIFE = timedelta(days=3650)
ISSUING_LIFE = timedelta(days=365)
# With a list that has lapsed the broker lets nobody in: it lives as long as the broker's own certificate, and is
# renewed in a third of that.
CRL_LIFE = LEAF_LIFE
# Long enough to ask a broker everything, too short to be worth stealing.
_PROBE_LIFE = timedelta(minutes=10)
# Of a certificate that takes a session over: it is used within seconds.
TAKE_OVER_LIFE = timedelta(minutes=5)
# A peer's clock may be a little behind ours.
_BACKDATED = timedelta(hours=1)
_LIST = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\n?", re.DOTALL)


class Usage(Enum):
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
    SERVER = ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, slots=True)
class Issued:
    """``certificate_pem``: with the issuing one behind it."""

    certificate_pem: bytes
    key_pem: bytes
    serial: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate for a key that is somebody else's."""

    certificate_pem: bytes
    serial: str
    not_after: datetime

    def with_key(self, key: ec.EllipticCurvePrivateKey) -> Issued:
        return Issued(self.certificate_pem, _key_pem(key), self.serial, self.not_after)


class Issuing(Protocol):
    """Whoever has certificates made: an `Authority` itself, or a client of the process that has its key."""

    @property
    def certificate(self) -> x509.Certificate:
        """Of the issuing authority."""

    @property
    def certificate_pem(self) -> bytes:
        """What is trusted: the root's."""

    def issue_link(self, link_id: str, now: datetime, *, former_key_pem: bytes | None = None) -> Issued: ...

    def issue_service(self, name: str, now: datetime) -> Issued: ...

    def issue_server(self, hosts: Iterable[str], now: datetime) -> Issued: ...

    def issue_probe(self, name: str, now: datetime) -> Issued: ...

    def revocation_list(self, serials: Collection[int], now: datetime) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Root:
    """Needed once a year and after a loss."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, now: datetime) -> Root:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Tillmedic installation CA")
        return cls(_authority_certificate(name, name, key.public_key(), key, now, now + _ROOT_LIFE, 1), key)

    @classmethod
    def from_pem(cls, certificate_pem: bytes, key_pem: bytes) -> Root:
        """Raises ``ValueError`` for a key that is another's."""
        certificate, key = x509.load_pem_x509_certificate(certificate_pem), _private_key(key_pem)
        if certificate.public_key() != key.public_key():
            raise ValueError("expected the key of this certificate, came another")
        return cls(certificate, key)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return _key_pem(self.key)

    def renewed(self, now: datetime) -> Root:
        """The same name and key with another certificate: whoever trusts the present one believes what is below it."""
        name = self.certificate.subject
        made = _authority_certificate(name, name, self.key.public_key(), self.key, now, now + _ROOT_LIFE, 1)
        return Root(made, self.key)

    def make_issuing(self, now: datetime) -> Authority:
        """Raises ``AuthorityLapsed``."""
        _refuse_lapsed(self.certificate, now, "the root's certificate", "renew it with 'fleet-server authority root'")
        key = ec.generate_private_key(ec.SECP256R1())
        # A name of its own: lists of revoked certificates are found by it.
        subject = _name(f"Tillmedic issuing CA {secrets.token_hex(4)}")
        end = min(now + ISSUING_LIFE, self.certificate.not_valid_after_utc)
        made = _authority_certificate(subject, self.certificate.subject, key.public_key(), self.key, now, end, 0)
        return Authority(made, key, self.certificate)


@dataclass(frozen=True, slots=True)
class Authority:
    """The issuing one, with the certificate of the root above it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    root: x509.Certificate

    @classmethod
    def make(cls, now: datetime) -> Authority:
        """Below a root whose key is thrown away."""
        return Root.make(now).make_issuing(now)

    @classmethod
    def from_pem(cls, chain_pem: bytes, key_pem: bytes) -> Authority:
        """``chain_pem``: its own certificate, and behind it the root's. Raises ``ValueError``."""
        chain = x509.load_pem_x509_certificates(chain_pem)
        if len(chain) != _LEVELS:
            raise ValueError(f"expected an issuing certificate and the root's behind it, came {len(chain)}")
        return cls(chain[0], _private_key(key_pem), chain[1])

    @property
    def certificate_pem(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.PEM)

    @property
    def issuing_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain_pem(self) -> bytes:
        return self.issuing_pem + self.certificate_pem

    @property
    def key_pem(self) -> bytes:
        return _key_pem(self.key)

    def issue_link(self, link_id: str, now: datetime, *, former_key_pem: bytes | None = None) -> Issued:
        """For a device, with a key made here. The former key proves nothing to whoever has the authority's own."""
        del former_key_pem
        key = ec.generate_private_key(ec.SECP256R1())
        return self.certify_link(link_id, key.public_key(), now).with_key(key)

    def certify_link(
        self, link_id: str, public: ec.EllipticCurvePublicKey, now: datetime, life: timedelta = LEAF_LIFE
    ) -> Certified:
        """Raises ``NameNotEnrollable`` for a name that could match other links' topics or a service."""
        if not is_identifier(link_id):
            raise NameNotEnrollable(f"expected an id of 8 to 64 of a-z, 0-9 and '-', came {link_id[:80]!r}")
        return self._certify(link_id, public, Usage.CLIENT, now, (), life)

    def certify_take_over(self, link_id: str, public: ec.EllipticCurvePublicKey, now: datetime) -> Certified:
        return self.certify_link(link_id, public, now, _BACKDATED + TAKE_OVER_LIFE)

    def issue_service(self, name: str, now: datetime) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        return self.certify_service(name, key.public_key(), now).with_key(key)

    def certify_service(self, name: str, public: ec.EllipticCurvePublicKey, now: datetime) -> Certified:
        if name not in SERVICE_NAMES:
            raise NameNotEnrollable(f"expected one of {', '.join(SERVICE_NAMES)}, came {name[:80]!r}")
        return self._certify(name, public, Usage.CLIENT, now, ())

    def issue_probe(self, name: str, now: datetime) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        return self.certify_probe(name, key.public_key(), now).with_key(key)

    def certify_probe(self, name: str, public: ec.EllipticCurvePublicKey, now: datetime) -> Certified:
        """For minutes, to ask a broker what it does: one of the probe's own services, or a device that is nobody's."""
        if name not in PROBE_NAMES and not (is_identifier(name) and name.startswith(PROBE_PREFIX)):
            raise NameNotEnrollable(f"expected one of {', '.join(PROBE_NAMES)} or {PROBE_PREFIX}…, came {name[:80]!r}")
        return self._certify(name, public, Usage.CLIENT, now, (), _BACKDATED + _PROBE_LIFE)

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
        key = ec.generate_private_key(ec.SECP256R1())
        return self.certify_server(hosts, key.public_key(), now).with_key(key)

    def certify_server(self, hosts: Iterable[str], public: ec.EllipticCurvePublicKey, now: datetime) -> Certified:
        """``hosts``: names and addresses that clients connect to."""
        names = list(dict.fromkeys(hosts))
        return self._certify(names[0], public, Usage.SERVER, now, names)

    def _certify(
        self,
        common_name: str,
        public: ec.EllipticCurvePublicKey,
        usage: Usage,
        now: datetime,
        hosts: Iterable[str],
        life: timedelta = LEAF_LIFE,
    ) -> Certified:
        _refuse_lapsed(self.certificate, now, "the issuing certificate", "make one with 'fleet-server rotate issuing'")
        return self._sign(common_name, public, usage, now, hosts, life)

    def _sign(
        self,
        name: str,
        public: ec.EllipticCurvePublicKey,
        usage: Usage,
        now: datetime,
        hosts: Iterable[str],
        life: timedelta,
    ) -> Certified:
        # Certificates count whole seconds.
        not_after = min((now - _BACKDATED + life).replace(microsecond=0), self.certificate.not_valid_after_utc)
        builder = _builder(_name(name), self.certificate.subject, public, now, not_after)
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        alternatives = [_general_name(host) for host in hosts]
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage.value]), critical=False)
        builder = builder.add_extension(authority_id, critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM) + self.issuing_pem
        return Certified(pem, f"{certificate.serial_number:x}", not_after)


def due_for_renewal(certificate_pem: bytes, now: datetime) -> bool:
    """Past two thirds of its life, made by a clock that was ahead, or not readable."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        return True
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now < begin or now >= begin + (end - begin) * 2 / 3


def lists_of(crl_pem: bytes) -> list[x509.CertificateRevocationList]:
    """Raises ``ValueError`` for what cannot be read."""
    return [x509.load_pem_x509_crl(one) for one in _LIST.findall(crl_pem)]


def is_list_due(crl_pem: bytes, issuing: x509.Certificate, serials: Collection[int], now: datetime) -> bool:
    """Past a third of its life, made by a clock that was ahead, without one of ``issuing``, or without some of
    ``serials``.
    """
    try:
        found = lists_of(crl_pem)
        ours = [one for one in found if one.issuer == issuing.subject and _is_signed_by(one, issuing)]
    except (ValueError, TypeError):
        return True
    named = {entry.serial_number for one in found for entry in one}
    return not ours or not set(serials) <= named or any(_is_old(one, now) for one in found)


def _is_old(found: x509.CertificateRevocationList, now: datetime) -> bool:
    begin, end = found.last_update_utc, found.next_update_utc
    return end is None or now < begin or now >= begin + (end - begin) / 3


def _refuse_lapsed(certificate: x509.Certificate, now: datetime, named: str, way_out: str) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    clock = f"this machine's clock, which says {now:%Y-%m-%d %H:%M} UTC, is wrong"
    if now >= end:
        raise AuthorityLapsed(f"{named} ended {end:%Y-%m-%d %H:%M} UTC: {way_out}, unless {clock}")
    if now < begin:
        raise AuthorityLapsed(f"{named} is valid only from {begin:%Y-%m-%d %H:%M} UTC on: {way_out}, unless {clock}")


def _is_signed_by(found: x509.CertificateRevocationList, issuing: x509.Certificate) -> bool:
    public = issuing.public_key()
    return isinstance(public, ec.EllipticCurvePublicKey) and found.is_signature_valid(public)


def hosts_of(certificate_pem: bytes) -> frozenset[str]:
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return frozenset()
    return frozenset(str(name.value) for name in names)


def is_issued_by(certificate_pem: bytes, authority: Issuing) -> bool:
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


def _authority_certificate(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    signing: ec.EllipticCurvePrivateKey,
    now: datetime,
    end: datetime,
    path_length: int,
) -> x509.Certificate:
    builder = _builder(subject, issuer, public, now, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    return builder.add_extension(authority_id, critical=False).sign(signing, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"expected a P-256 key, came {type(key).__name__}")
    return key


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
