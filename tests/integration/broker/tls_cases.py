"""Certificates that must not be let in, each wrong in one way, made for an authority and a name that would be good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleet_server.enrollment.authority import Authority

LINK = "d-aaaaaaaaaaaa"
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client shows: a chain of PEM certificates and the key of the first."""

    chain: bytes
    key: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class Recipe:
    common_name: str = LINK
    begin: timedelta = timedelta(hours=-1)
    end: timedelta = timedelta(days=30)
    usages: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    critical_extension: bool = False
    is_authority: bool = False
    self_signed: bool = False
    key_usage_signs: bool = True


def make(authority: Authority, recipe: Recipe, now: datetime, key: PrivateKey | None = None) -> Shown:
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, recipe.common_name)])
    issuer = subject if recipe.self_signed else authority.certificate.subject
    serial = x509.random_serial_number()
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(own.public_key())
    builder = builder.serial_number(serial).not_valid_before(now + recipe.begin).not_valid_after(now + recipe.end)
    constraints = x509.BasicConstraints(ca=recipe.is_authority, path_length=None)
    builder = builder.add_extension(constraints, critical=True)
    if recipe.usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(recipe.usages), critical=False)
    if recipe.critical_extension:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
        builder = builder.add_extension(unknown, critical=True)
    signer = own if recipe.self_signed else authority.key
    certificate = builder.sign(signer, hashes.SHA256())
    chain = _pem(certificate) + authority.issuing_pem
    return Shown(chain, _key_pem(own), serial)


def below(authority: Authority, now: datetime) -> Authority:
    """An intermediate authority, which ours (path length 0) does not allow."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Intermediate")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(authority.certificate.subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=30))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Authority(builder.sign(authority.key, hashes.SHA256()), key, authority.root)


def chained(shown: Shown, authority: Authority) -> Shown:
    return Shown(shown.chain + authority.issuing_pem, shown.key, shown.serial)


def altered(shown: Shown) -> Shown:
    """One byte of the signature is another."""
    der = bytearray(x509.load_pem_x509_certificate(shown.chain).public_bytes(serialization.Encoding.DER))
    der[-3] ^= 1
    return Shown(ssl_pem(bytes(der)), shown.key, shown.serial)


def ssl_pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


def _rsa(authority: Authority, now: datetime) -> Shown:
    return make(authority, Recipe(), now, rsa.generate_private_key(65537, 1024))  # noqa: S505 - weak on purpose


def _leaf_as_authority(authority: Authority, now: datetime) -> Shown:
    leaf = make(authority, Recipe(common_name="d-bbbbbbbbbbbb"), now)
    key = serialization.load_pem_private_key(leaf.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    false_authority = Authority(x509.load_pem_x509_certificate(leaf.chain), key, authority.root)
    return chained(make(false_authority, Recipe(), now), authority)


DAY = timedelta(days=1)
# Those that the handshake itself must refuse.
CASES: dict[str, Callable[[Authority, datetime], Shown]] = {
    "expired": lambda a, now: make(a, Recipe(begin=-9 * DAY, end=-DAY), now),
    "expired a minute ago": lambda a, now: make(a, Recipe(end=timedelta(minutes=-1)), now),
    "not yet valid": lambda a, now: make(a, Recipe(begin=DAY), now),
    "another authority": lambda _, now: make(Authority.make(now), Recipe(), now),
    "another authority of the same name, with its own certificate": lambda _, now: _look_alike(now),
    "self-signed": lambda a, now: make(a, Recipe(self_signed=True), now),
    "self-signed authority": lambda a, now: make(a, Recipe(self_signed=True, is_authority=True), now),
    "for servers": lambda a, now: make(a, Recipe(usages=(ExtendedKeyUsageOID.SERVER_AUTH,)), now),
    "for signing code": lambda a, now: make(a, Recipe(usages=(ExtendedKeyUsageOID.CODE_SIGNING,)), now),
    "unknown critical extension": lambda a, now: make(a, Recipe(critical_extension=True), now),
    "RSA of 1024 bits": _rsa,
    "signature altered": lambda a, now: altered(make(a, Recipe(), now)),
    "intermediate missing": lambda a, now: _leaf_alone(make(below(a, now), Recipe(), now)),
    "intermediate that is not allowed": lambda a, now: chained(make(below(a, now), Recipe(), now), a),
    "issued by a terminal's certificate": _leaf_as_authority,
}
# Those that mosquitto lets through the handshake: our authority does not make them, and they may do nothing.
POWERLESS: dict[str, Callable[[Authority, datetime], Shown]] = {
    name: lambda a, now, name=name: make(a, Recipe(common_name=name), now)  # type: ignore[misc]  # bound now
    for name in ("+", "#", "d-bbbbbbbbbbbb/x", "fleet/v1", "%u", "SVC-FLEET-1", "svc-fleet-1 ", "d-AAAAAAAAAAAA")
}


def _look_alike(now: datetime) -> Shown:
    authority = Authority.make(now)
    shown = make(authority, Recipe(), now)
    return Shown(shown.chain + authority.certificate_pem, shown.key, shown.serial)


def _leaf_alone(shown: Shown) -> Shown:
    return Shown(_pem(x509.load_pem_x509_certificate(shown.chain)), shown.key, shown.serial)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
