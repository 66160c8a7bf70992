"""Signing requests (PKCS #10) as far as they are taken: a P-256 key that signed for itself, and at most a name.

What the certificate says comes from the ledger and never from the request: one that asks for a name, an extension or
an attribute of its own is refused all the same, since nobody honest asks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fleet_server.issuer.errors import ProofInvalid, RequestRefused
from protocol.enrolment import MAX_PEM

# The library's own are no ValueErrors.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def read_request(pem: str, names: Collection[str]) -> tuple[ec.EllipticCurvePublicKey, bytes]:
    """The key, and the request as DER. ``names``: what its subject may say; no subject is always right."""
    if len(pem) > MAX_PEM:
        raise RequestRefused(f"the signing request has {len(pem)} characters, limit {MAX_PEM}")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        public = request.public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            raise RequestRefused("expected a P-256 key in the signing request, came another kind of key")
        is_signed = request.is_signature_valid and isinstance(request.signature_hash_algorithm, hashes.SHA256)
        extensions, attributes, subject = list(request.extensions), list(request.attributes), request.subject
    except _UNREADABLE as error:
        raise RequestRefused("expected a signing request in PEM, came something else") from error
    if not is_signed:
        raise RequestRefused("the signing request is not signed by its own key with SHA-256")
    if extensions or attributes:
        raise RequestRefused(
            f"expected a signing request without extensions, came {len(extensions) or len(attributes)}"
        )
    said = [(part.oid, str(part.value)) for part in subject]
    if said and said not in [[(NameOID.COMMON_NAME, name)] for name in names]:
        raise RequestRefused("expected a signing request without a name or with this device's, came another name")
    return public, request.public_bytes(serialization.Encoding.DER)


def check_proof(public: ec.EllipticCurvePublicKey, proof_hex: str, signed: bytes) -> None:
    try:
        public.verify(bytes.fromhex(proof_hex), signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise ProofInvalid("the proof is not of the key that it should be of") from error


def key_name(public: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the public key: what ledger and database know it by."""
    return hashlib.sha256(key_bytes(public)).hexdigest()


def key_bytes(public: ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


def key_of_bytes(point: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
