"""Signing keys as files: 64 hexadecimal digits, 32 secret bytes, made by ``fleet-server init``."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet_server.signer.errors import KeyUnreadable
from protocol.signing import SigningKey

SEED_BYTES = 32
_LOOK_EVERY_S = 0.5


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


@contextmanager
def until_replaced(path: Path, stop: threading.Event) -> Iterator[None]:
    """Sets ``stop`` when another file has taken the key's place. One that is only away changes nothing."""
    known, is_over = _identity(path), threading.Event()

    def look() -> None:
        while not is_over.wait(_LOOK_EVERY_S):
            if _identity(path) not in {known, None}:
                stop.set()

    watcher = threading.Thread(target=look, name="key watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
