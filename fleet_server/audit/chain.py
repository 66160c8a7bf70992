"""How entries of the audit hang together: each carries the SHA-256 of the one before it and of its own canonical form.

    row_hash = SHA-256(prev_hash || canonical(row))
    canonical(row) = JSON [tenant, seq, at in microseconds, actor, action, target, data, aside], keys of objects sorted

``aside`` is SHA-256(salt || canonical document) of what is kept beside the row and may be erased, or "". The first row
of a tenant follows `GENESIS`. Pure: nothing here reads a database or a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

GENESIS: Final = "0" * 64
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class ChainRow:
    """An entry as it is stored or exported, with the hashes that it claims. ``document`` None: nothing beside it, or
    erased.
    """

    tenant_id: str
    seq: int
    at_us: int
    actor: str
    action: str
    target: str
    data: Mapping[str, Any]
    aside: str
    prev_hash: str
    row_hash: str
    salt: str = ""
    document: Mapping[str, Any] | None = None

    def digest(self, prev_hash: str | None = None, seq: int | None = None) -> str:
        """Its hash behind ``prev_hash`` and in the place ``seq``; left out: those that it claims."""
        before = self.prev_hash if prev_hash is None else prev_hash
        place = self.seq if seq is None else seq
        fields = (self.tenant_id, place, self.at_us, self.actor, self.action, self.target, self.data, self.aside)
        return hashlib.sha256(before.encode() + _encode(fields)).hexdigest()

    @property
    def is_whole(self) -> bool:
        """It is what its own hashes say, and so is what is kept beside it."""
        if self.document is not None and commitment(self.salt, self.document) != self.aside:
            return False
        return self.digest() == self.row_hash


def commitment(salt: str, document: Mapping[str, Any]) -> str:
    """``salt``: 128 random bits in hexadecimal; without it a document with few possible values could be guessed."""
    return hashlib.sha256(salt.encode() + _encode(document)).hexdigest()


def plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """``data`` as a database gives it back: what is hashed is what will be read. No NUL, which PostgreSQL refuses."""
    text = msgspec.json.encode(data).replace(b"\\u0000", b"\\ufffd")
    again: dict[str, Any] = msgspec.json.decode(text)
    return again
