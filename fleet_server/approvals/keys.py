"""An approver's key on disk: Ed25519 in PKCS8, encrypted with a passphrase, and its public half beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from fleet_server.errors import FleetError
from protocol.signing import SigningKey, key_id

MIN_PASSPHRASE_CHARS = 12


class ApproverKeyUnusable(FleetError):
    code: ClassVar[str] = "approver_key_unusable"


def make_key(path: Path, passphrase: str) -> SigningKey:
    """A new key in a new file, its owner's alone. Raises ``ApproverKeyUnusable``."""
    if len(passphrase) < MIN_PASSPHRASE_CHARS:
        raise ApproverKeyUnusable(f"expected a passphrase of at least {MIN_PASSPHRASE_CHARS} characters")
    private = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(passphrase.encode())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ApproverKeyUnusable(f"{path} cannot be made: {error.strerror}") from error
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
    return SigningKey(private, key_id(private.public_key()))


def read_key(path: Path, passphrase: str) -> SigningKey:
    """Raises ``ApproverKeyUnusable`` naming the file; never a byte of it."""
    try:
        private = load_pem_private_key(path.read_bytes(), passphrase.encode())
    except OSError as error:
        raise ApproverKeyUnusable(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ApproverKeyUnusable(f"{path} cannot be opened: wrong passphrase, or no key of an approver") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ApproverKeyUnusable(f"{path} holds no Ed25519 key")
    return SigningKey(private, key_id(private.public_key()))
