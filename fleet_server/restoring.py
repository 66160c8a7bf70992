"""How a restore and the server's processes get out of each other's way, by two lock files in the state folder.

Who restores holds ``.restore.lock`` alone, from before the first look to after the swap, and has written into it since
when. Whoever may write to the database (API, ingest, scheduler) holds ``.writers.lock`` together with the others. A
restore begins when it has that one alone; writers look for it every `LOOK_EVERY_S` and let go. The kernel releases
both when a process dies, so nothing is left behind.

Invariant: while somebody restores, nobody of this installation writes. What has the database open without taking part
is found by `fleet_server.restore` itself.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fleet_server.errors import FleetError

LOOK_EVERY_S = 0.5
_RESTORE, _WRITERS = ".restore.lock", ".writers.lock"


class AnotherRestore(FleetError):
    code = "restore_refused"


def restoring_since(data: Path) -> datetime | None:
    """Since when a restore is at work here; None when none is."""
    path = data / _RESTORE
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            return datetime.fromisoformat(os.read(descriptor, 64).decode())
        except ValueError:
            # It has only just begun.
            return datetime.now(UTC)
    finally:
        os.close(descriptor)
    return None


@contextmanager
def declared(data: Path, now: datetime) -> Iterator[None]:
    """Everybody sees that a restore is at work. Raises ``AnotherRestore``."""
    descriptor = _opened(data / _RESTORE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AnotherRestore(f"another restore is at work in {data}") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, now.isoformat().encode(), 0)
        yield
    finally:
        os.close(descriptor)


def has_writers(data: Path) -> bool:
    """Whether a process of this installation may write now."""
    try:
        descriptor = os.open(data / _WRITERS, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try_alone(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def without_writers(data: Path, within_s: float) -> Iterator[bool]:
    """Whether they have let go; none begins until the end of it."""
    descriptor = _opened(data / _WRITERS)
    give_up_s = time.monotonic() + within_s
    try:
        while not (is_alone := _try_alone(descriptor)) and time.monotonic() < give_up_s:
            time.sleep(0.1)
        yield is_alone
    finally:
        os.close(descriptor)


class WritersPlace:
    """Held by a process that may write."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._descriptor: int | None = None

    def take(self) -> bool:
        """False while somebody restores."""
        if self._descriptor is not None:
            return True
        descriptor = _opened(self._data / _WRITERS)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        # Looked at with the lock in hand: a restore that begins now waits for us.
        if restoring_since(self._data) is not None:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def leave(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def writing(data: Path, stop: threading.Event) -> Iterator[None]:
    """For a process that has nothing to do but write: begins when no restore is at work, and sets ``stop`` for one."""
    place, is_over = WritersPlace(data), threading.Event()
    while not place.take() and not stop.is_set():
        stop.wait(LOOK_EVERY_S)

    def look() -> None:
        while not is_over.wait(LOOK_EVERY_S):
            if restoring_since(data) is not None:
                stop.set()

    watcher = threading.Thread(target=look, name="restore watcher", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
        place.leave()


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
