"""Follows a payment application's log file and turns its lines into signs.

Reads on from where it stopped, over restarts too when it has a file to remember its place in. A rotated file (also one
that became `.1` while nobody watched) is read to its end before the new one is begun; a truncated one is begun again; a
missing one is waited for. A file met for the first time is begun at its end: what stands there happened before anybody
watched. Bounds: `MAX_READ_BYTES` a call, the rest comes with the next ones; lines above `MAX_LINE_BYTES` and signs
above `MAX_SIGNS` a call are dropped and counted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from device_agent.app_log_rules import RULES, LogSign, is_approval, is_ended_by_approval, sign_in
from protocol.bundles.texts import decoded
from protocol.catalogue.vocabulary import TerminalClass
from protocol.codec import UNREADABLE
from protocol.identifiers import CodeId

MAX_READ_BYTES = 256 * 1024
MAX_LINE_BYTES = 4096
MAX_SIGNS = 64
_CHUNK_BYTES = 32 * 1024
_CLASSES = {each.value: each for each in TerminalClass}


class Place(msgspec.Struct, frozen=True):
    """Which file, and up to where its whole lines were read."""

    inode: int
    offset: int


@dataclass(slots=True)
class FollowCounts:
    lines: int = 0
    long_lines: int = 0
    dropped_signs: int = 0
    rotations: int = 0
    truncations: int = 0
    errors: int = 0


class AppLog:
    def __init__(
        self,
        path: Path,
        terminal_class: str,
        acquirer_profile: str | None = None,
        *,
        place_file: Path | None = None,
        is_new_read_from_start: bool = False,
    ) -> None:
        self.counts = FollowCounts()
        self._path = path
        self._rules = RULES[_CLASSES[terminal_class]]
        self._profile = acquirer_profile
        self._place_file = place_file
        self._file: BinaryIO | None = None
        self._inode = 0
        self._held = b""
        self._is_skipping = False
        # None once a file has been met: whatever comes after it is new from its first line.
        self._first: Place | None = _remembered(place_file)
        self._is_first_file = not is_new_read_from_start
        self._saved = self._first
        # Bounded by the codes that the rules and the catalogue's table of answers know.
        self._open_codes: set[CodeId] = set()

    def follow(self) -> list[LogSign]:
        """What the lines written since the last call show, each code once, with its last line.

        An approved payment ends what such a payment disproves: those codes come once more, as over.
        """
        signs: dict[str, LogSign] = {}
        left = MAX_READ_BYTES
        try:
            while left > 0 and self._is_open():
                chunk = self._read(min(left, _CHUNK_BYTES))
                left -= len(chunk)
                if chunk:
                    self._take(chunk, signs)
                elif not self._move_on():
                    break
            self._remember()
        except OSError:
            # An unreadable log must not stop the terminal's watching; the next call tries again.
            self.counts.errors += 1
            self.close()
        return list(signs.values())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._held, self._is_skipping = None, b"", False

    def _is_open(self) -> bool:
        if self._file is None:
            try:
                self._file = self._rotated_meanwhile() or self._path.open("rb", buffering=0)
            except FileNotFoundError:
                # Its first line will be new: nobody has written it yet.
                self._is_first_file = False
                return False
            status = os.fstat(self._file.fileno())
            self._inode = status.st_ino
            self._file.seek(self._start(status.st_size))
        return True

    def _rotated_meanwhile(self) -> BinaryIO | None:
        """The file of the remembered place, when it was rotated away while nobody watched."""
        if self._first is None:
            return None
        try:
            rotated = self._path.with_name(self._path.name + ".1").open("rb", buffering=0)
        except FileNotFoundError:
            return None
        if os.fstat(rotated.fileno()).st_ino == self._first.inode:
            return rotated
        rotated.close()
        return None

    def _start(self, size_bytes: int) -> int:
        first, is_first, self._first, self._is_first_file = self._first, self._is_first_file, None, False
        if first is not None and first.inode == self._inode and first.offset <= size_bytes:
            return first.offset
        return size_bytes if is_first and first is None else 0

    def _read(self, size_bytes: int) -> bytes:
        return b"" if self._file is None else self._file.read(size_bytes)

    def _move_on(self) -> bool:
        """At the end of what is open: whether there is something else to read."""
        if self._file is None:
            return False
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False
        if status.st_ino != self._inode:
            self.counts.rotations += 1
            self.close()
            return True
        if status.st_size < self._file.tell():
            self.counts.truncations += 1
            self._held, self._is_skipping = b"", False
            self._file.seek(0)
            return True
        return False

    def _take(self, chunk: bytes, signs: dict[str, LogSign]) -> None:
        *lines, rest = (self._held + chunk).split(b"\n")
        for line in lines:
            if self._is_skipping or len(line) > MAX_LINE_BYTES:
                self.counts.long_lines += 1
                self._is_skipping = False
            else:
                self._read_line(line, signs)
        self._held = rest
        if len(rest) > MAX_LINE_BYTES:
            self._held, self._is_skipping = b"", True

    def _read_line(self, line: bytes, signs: dict[str, LogSign]) -> None:
        self.counts.lines += 1
        text = decoded(line)
        sign = sign_in(text, self._rules, acquirer_profile=self._profile)
        if sign is None:
            if self._open_codes and is_approval(text, self._rules):
                self._end(signs)
            return
        if sign.code in signs or len(signs) < MAX_SIGNS:
            signs[sign.code] = sign
            self._open_codes.add(sign.code)
        else:
            self.counts.dropped_signs += 1

    def _end(self, signs: dict[str, LogSign]) -> None:
        for code in [code for code in self._open_codes if is_ended_by_approval(code)]:
            self._open_codes.discard(code)
            signs[code] = LogSign(code, "a payment was approved", is_over=True)

    def _remember(self) -> None:
        if self._place_file is None:
            return
        # A missing file is a place too: the next one is new from its first line, also after a restart.
        place = Place(0, 0) if self._file is None else Place(self._inode, self._file.tell() - len(self._held))
        if place != self._saved:
            _replace(self._place_file, msgspec.json.encode(place))
            self._saved = place


def _remembered(place_file: Path | None) -> Place | None:
    if place_file is None:
        return None
    try:
        return msgspec.json.decode(place_file.read_bytes(), type=Place)
    except (OSError, *UNREADABLE):
        return None


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all; a place that is some seconds old only means that lines are read twice."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    new.replace(path)
