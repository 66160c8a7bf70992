"""The agent's identity on disk: the bundle that enrolment writes, and what renewal puts in its place.

    BUNDLE/client.key.new   the key that is being enrolled; client.key when all is there
    BUNDLE/enrolment.json   written last: with it the bundle is complete
    STATE/identity.pem      the newest key with its certificate, in one file that is replaced whole
    STATE/identity.next     the key that a certificate is being asked for

Invariant: at whatever step the process is killed or the power goes, there is a whole identity, the old one or the new.
A key is on disk before anybody is asked for its certificate. Files are their owner's alone from the first byte.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device_agent.errors import ConfigurationInvalid
from protocol.enrolment import Enrolled

Key = ec.EllipticCurvePrivateKey
RENEWED: Final = "identity.pem"
_NEXT: Final = "identity.next"
_NEW_KEY: Final = "client.key.new"


@dataclass(frozen=True, slots=True)
class Identity:
    """``certificate_file`` and ``key_file`` may be one file."""

    link: str
    key: Key
    certificate: x509.Certificate
    certificate_file: Path
    key_file: Path

    @property
    def begins_at(self) -> datetime:
        return self.certificate.not_valid_before_utc

    @property
    def ends_at(self) -> datetime:
        return self.certificate.not_valid_after_utc


def load_identity(bundle: Path, state: Path, link: str) -> Identity:
    """The newer of the bundle's and the renewed one. Raises ``ConfigurationInvalid`` when neither can be used."""
    renewed = None
    with suppress(OSError, ValueError, TypeError):
        renewed = _loaded(state / RENEWED, state / RENEWED, link)
    try:
        bundled = _loaded(bundle / "client.crt", bundle / "client.key", link)
    except (OSError, ValueError, TypeError) as error:
        if renewed is not None:
            return renewed
        raise ConfigurationInvalid(
            f"enrolment: expected client.crt and client.key in {bundle}, came {error}"
        ) from error
    # A bundle that was carried here anew, after a factory reset or by hand, begins later.
    return renewed if renewed is not None and renewed.begins_at >= bundled.begins_at else bundled


def newest_files(certificate: Path, key: Path, state: Path, link: str) -> tuple[Path, Path]:
    """The files of `load_identity`; those of the bundle when nothing can be read, for TLS to say what is wrong."""
    try:
        found = load_identity(certificate.parent, state, link)
    except ConfigurationInvalid:
        return certificate, key
    return found.certificate_file, found.key_file


def pending_key(bundle: Path) -> Key:
    """The key of an enrolment that was begun, or a new one."""
    _make_private(bundle)
    return _kept_key(bundle / _NEW_KEY)


def next_key(state: Path) -> Key:
    """The key of a renewal that was begun, or a new one."""
    return _kept_key(state / _NEXT)


def keep_bundle(bundle: Path, enrolled: Enrolled, ca_pem: str, key: Key) -> str:
    """The link's id. Raises ``ConfigurationInvalid`` for an answer not for this key, or not of this authority."""
    link = str(enrolled.enrolment.get("link", ""))
    chain = checked_chain(enrolled.certificate, ca_pem, link, key)
    _write(bundle / "ca.crt", ca_pem.encode())
    _write(bundle / "policy.json", enrolled.policy.encode())
    _write(bundle / "client.key", _pem(key))
    _write(bundle / "client.crt", chain)
    _write(bundle / "enrolment.json", msgspec.json.encode(enrolled.enrolment))
    (bundle / _NEW_KEY).unlink(missing_ok=True)
    return link


def keep_renewed(state: Path, certificate: str, ca_pem: str, link: str, key: Key) -> None:
    """Raises ``ConfigurationInvalid`` as `keep_bundle` does; then the old identity stays."""
    chain = checked_chain(certificate, ca_pem, link, key)
    _write(state / RENEWED, _pem(key) + chain)
    (state / _NEXT).unlink(missing_ok=True)


def checked_chain(certificate: str, ca_pem: str, link: str, key: Key) -> bytes:
    """As PEM: the leaf, and the authorities between it and the one that is trusted."""
    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
        root = x509.load_pem_x509_certificate(ca_pem.encode())
        for below, above in zip(chain, [*chain[1:], root], strict=True):
            below.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise ConfigurationInvalid("expected a certificate of the enrolment's authority, came another's") from error
    if chain[0].public_key() != key.public_key() or _names(chain[0]) != [link] or not link:
        raise ConfigurationInvalid("expected a certificate for this device's key and name, came another's")
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)


def signing_request(key: Key) -> tuple[str, bytes]:
    """As PEM and as DER. It names nobody: the server knows the name."""
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    return pem, made.public_bytes(serialization.Encoding.DER)


def sign(key: Key, what: bytes) -> str:
    return key.sign(what, ec.ECDSA(hashes.SHA256())).hex()


def _loaded(certificate_file: Path, key_file: Path, link: str) -> Identity:
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError(f"a key that does not belong to {certificate_file}")
    if _names(certificate) != [link]:
        raise ValueError(f"a certificate that is not for {link}")
    return Identity(link, key, certificate, certificate_file, key_file)


def _names(certificate: x509.Certificate) -> list[str]:
    return [str(one.value) for one in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]


def _kept_key(path: Path) -> Key:
    with suppress(OSError, ValueError, TypeError):
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
    made = ec.generate_private_key(ec.SECP256R1())
    _write(path, _pem(made))
    return made


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationInvalid(f"{folder}: expected a folder that can be made, came {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    """Readers see the old file or the new one, and the new one only when it is on disk."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigurationInvalid(f"{path}: expected a file that can be written, came {error.strerror}") from error
