"""A log file that cannot fill the disk: at `MAX_BYTES` it becomes ``NAME.1`` and a new one begins.

Whatever a process wrote there, also while it crashed, is scrubbed of card data line by line.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from protocol.redaction import scrub

MAX_BYTES = 5 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024
_TAIL_BYTES = 4096


class BoundedLog:
    """Safe in threads. Invariant: file and predecessor together hold at most twice `MAX_BYTES` and a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()

    def write(self, line: bytes) -> None:
        clean = scrub(line[:MAX_LINE_BYTES].decode("utf-8", "surrogateescape")).text
        with self._lock:
            if self.path.exists() and self.path.stat().st_size >= MAX_BYTES:
                self.path.replace(self.path.with_name(self.path.name + ".1"))
            with self.path.open("ab") as file:
                file.write(clean.encode("utf-8", "surrogateescape"))

    def last_line(self) -> str:
        with self._lock:
            if not self.path.exists():
                return ""
            with self.path.open("rb") as file:
                file.seek(max(0, self.path.stat().st_size - _TAIL_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
