"""The ledger of erasures: a file beside the database, in which nobody is named, by which a backup that is brought back
loses again who was erased since.

    DATA/erasures.jsonl    a line for each erasure, written and on disk before its first row is touched, and lines with
                           the keys of rows whose texts were changed

It lies beside the server's folder, which a restore replaces, and is in no backup: keep a copy where backups are kept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from fleet_server.personal.errors import LedgerUnusable
from protocol.codec import UNREADABLE

FILE = "erasures.jsonl"
_MAX_LINE_BYTES = 1_000_000


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """``rows``: keys of rows of ``table``; else the line tells of the erasure itself."""

    id: str
    tenant: str
    subject: str
    asked_at: datetime
    table: str = ""
    rows: list[list[Any]] = []


class Ledger:
    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, line: Line) -> None:
        """On disk when this returns. Raises ``LedgerUnusable``."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                # The end of a line that a crash left without one must not swallow this one.
                os.write(descriptor, b"\n" + msgspec.json.encode(line) + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise LedgerUnusable(f"{self._path} cannot be written: {error.strerror}") from error

    def lines(self) -> Sequence[Line]:
        """Oldest first; an empty file is nobody. Raises ``LedgerUnusable``."""
        try:
            with self._path.open("rb") as file:
                written = [line for line in file if line.strip()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LedgerUnusable(f"{self._path} cannot be read: {error.strerror}") from error
        return [self._line(number, line) for number, line in enumerate(written, start=1)]

    def _line(self, number: int, line: bytes) -> Line:
        try:
            if len(line) > _MAX_LINE_BYTES:
                raise LedgerUnusable(f"{self._path}: line {number} is {len(line)} bytes, limit {_MAX_LINE_BYTES}")
            return msgspec.json.decode(line, type=Line)
        except UNREADABLE as error:
            raise LedgerUnusable(f"{self._path}: line {number} cannot be read: {error}") from error
