"""Signing keys as files: 64 hexadecimal digits, 32 secret bytes, made by ``fleet-server init``.

The next key lies beside the present one, as ``NAME.next.seed``, until a policy names it; then it takes its place in one
step, so that a process that is killed at any moment finds the one or the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet_server.enrollment.private_files import read_or_make_seed
from fleet_server.signer.errors import KeyUnreadable
from protocol.signing import SigningKey

SEED_BYTES = 32
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """``present``: the seed in use."""

    present: Path

    @property
    def next(self) -> Path:
        return self.present.with_suffix(".next.seed")

    def prepared(self) -> SigningKey:
        """The next key, made when there is none."""
        return SigningKey.from_seed(read_or_make_seed(self.next))

    def take(self) -> None:
        self.next.replace(self.present)


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
def until_replaced(path: Path, stop: threading.Event, in_use: Callable[[], str]) -> Iterator[None]:
    """Sets ``stop`` when another key than the one ``in_use`` (public, in hexadecimal) lies at ``path``. One that is
    only away changes nothing.
    """
    is_over = threading.Event()

    def look() -> None:
        known = None
        while True:
            found = _identity(path)
            if found not in {known, None}:
                known = found
                if _is_another(path, in_use()):
                    stop.set()
            if is_over.wait(_LOOK_EVERY_S):
                return

    watcher = threading.Thread(target=look, name="key watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _is_another(path: Path, public: str) -> bool:
    try:
        return load_key(path).public_hex != public
    except KeyUnreadable:
        # What lies there now is no key; whoever starts anew says so.
        return path.exists()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
