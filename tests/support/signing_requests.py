"""Signing requests as a device makes them, and as it must not."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import AttributeOID, NameOID

from fleet_server.issuer.client import sign_proof
from protocol.enrolment import renew_proof_bytes

Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def request_of(
    key: CertificateIssuerPrivateKeyTypes,
    *names: str,
    extension: x509.ExtensionType | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
    challenge: bytes = b"",
) -> str:
    """``names``: common names of its subject."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    if challenge:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge)
    made = builder.sign(key, algorithm or hashes.SHA256())  # type: ignore[arg-type]  # any algorithm, to be refused
    return made.public_bytes(serialization.Encoding.PEM).decode()


def der_of(csr: str) -> bytes:
    return x509.load_pem_x509_csr(csr.encode()).public_bytes(serialization.Encoding.DER)


def renewal_proof(key: Key, link: str, csr: str) -> str:
    return sign_proof(key, renew_proof_bytes(link, der_of(csr)))
