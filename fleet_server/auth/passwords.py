"""Passwords: argon2id hashes, and readable random ones for first users.

Hashing takes a quarter of a second of a core and 64 MiB on purpose: never call it while a transaction is open.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

MIN_LENGTH = 12  # PCI DSS 8.3.6
MAX_LENGTH = 256
# Without look-alikes (i l o 0 1).
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class Passwords:
    hasher: PasswordHash

    @classmethod
    def standard(cls) -> Passwords:
        return cls(PasswordHash((Argon2Hasher(time_cost=3, memory_cost=64 * 1024, parallelism=4),)))

    @classmethod
    def cheap(cls) -> Passwords:
        """For tests only: the same algorithm without its cost."""
        return cls(PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),)))

    def hash(self, password: str) -> str:
        return self.hasher.hash(password)

    def matches(self, password: str, hashed: str | None) -> bool:
        """Takes the same time for a person who does not exist (``hashed`` is None)."""
        if len(password) > MAX_LENGTH:
            return False
        if hashed is None:
            self.hasher.hash(password)
            return False
        try:
            return self.hasher.verify(password, hashed)
        except UnknownHashError:
            return False


def readable_password() -> str:
    """Four groups of four, 79 bits: can be read out and typed."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))
