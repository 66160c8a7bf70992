"""Secrets of people at rest: sealed with a key that is not in the database, each bound to whom it belongs to.

A copy of the database alone opens none, and a sealed secret that was moved to another row opens neither.
The file has one key a line, 64 hexadecimal digits each: the first one seals, all open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fleet_server.auth.errors import PeopleKeyMissing, SecretUnreadable

_NONCE_BYTES = 12
_KEY_BYTES = 32


def new_key_line() -> str:
    return secrets.token_hex(_KEY_BYTES) + "\n"


class SecretBox:
    """Reads its file at each use, which is rare, so that a new key needs no restart."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def seal(self, text: str, owner: str) -> str:
        key, nonce = self._keys()[0], secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + AESGCM(key).encrypt(nonce, text.encode(), owner.encode())
        return f"{_name(key)}:{base64.b64encode(sealed).decode()}"

    def open(self, sealed: str, owner: str) -> str:
        name, _, text = sealed.partition(":")
        key = next((one for one in self._keys() if _name(one) == name), None)
        if key is None:
            raise SecretUnreadable(f"a secret was sealed with key {name[:8]}, which is not in {self._path.name}")
        try:
            data = base64.b64decode(text, validate=True)
            return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], owner.encode()).decode()
        except (binascii.Error, InvalidTag, ValueError) as error:
            raise SecretUnreadable("a sealed secret was changed, or belongs to somebody else") from error

    def _keys(self) -> Sequence[bytes]:
        try:
            keys = [bytes.fromhex(line) for line in self._path.read_text("ascii").split()]
        except OSError as error:
            raise PeopleKeyMissing(f"{self._path} cannot be read: run 'fleet-server init'") from error
        except ValueError as error:
            raise PeopleKeyMissing(f"{self._path}: expected 64 hexadecimal digits a line") from error
        if not keys or any(len(key) != _KEY_BYTES for key in keys):
            raise PeopleKeyMissing(f"{self._path}: expected at least one key of 32 bytes, 64 hexadecimal digits a line")
        return keys


def _name(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:8]
