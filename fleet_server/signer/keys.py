"""Signing keys as files: 64 hexadecimal digits, 32 secret bytes, made by ``fleet-server init``."""

from __future__ import annotations

from pathlib import Path

from fleet_server.signer.errors import KeyUnreadable
from protocol.signing import SigningKey

SEED_BYTES = 32


def load_key(path: Path) -> SigningKey:
    """Raises ``KeyUnreadable`` naming the file and what was expected; never a digit of it."""
    try:
        seed = bytes.fromhex(path.read_text("ascii").strip())
    except OSError as error:
        raise KeyUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise KeyUnreadable(f"{path} is no seed: expected {2 * SEED_BYTES} hexadecimal digits") from error
    if len(seed) != SEED_BYTES:
        raise KeyUnreadable(f"{path} holds {len(seed)} bytes, expected {SEED_BYTES}")
    return SigningKey.from_seed(seed)
