"""Passwords: argon2id hashes, and readable random ones for first users.

Hashing takes a quarter of a second of a core and 64 MiB on purpose: never call it while a transaction is open. At most
`AT_ONCE` run in a process and `MAX_WAITING` wait, so that a flood of sign-ins can take neither the memory nor all
threads: whoever comes then is told at once to come again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from fleet_server.auth.errors import SignInBusy
from fleet_server.auth.one_time_codes import readable_code

MAX_LENGTH = 256
AT_ONCE = 2
MAX_WAITING = 8
_WAIT_S = 3.0
_BUSY = "too many people sign in at this moment: try again in a few seconds"
_gate = BoundedSemaphore(AT_ONCE)
_room = BoundedSemaphore(AT_ONCE + MAX_WAITING)


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
        with _one_of_few():
            return self.hasher.hash(password)

    def matches(self, password: str, hashed: str | None) -> bool:
        """Takes the same time for a person who does not exist (``hashed`` is None) or has no password yet (empty)."""
        if len(password) > MAX_LENGTH:
            return False
        with _one_of_few():
            if not hashed:
                self.hasher.hash(password)
                return False
            try:
                return self.hasher.verify(password, hashed)
            except UnknownHashError:
                return False


@contextmanager
def _one_of_few() -> Iterator[None]:
    if not _room.acquire(blocking=False):
        raise SignInBusy(_BUSY)
    try:
        if not _gate.acquire(timeout=_WAIT_S):
            raise SignInBusy(_BUSY)
        try:
            yield
        finally:
            _gate.release()
    finally:
        _room.release()


def readable_password() -> str:
    return readable_code()
