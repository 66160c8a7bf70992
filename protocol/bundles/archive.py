"""The format of a bundle: a plain tar (POSIX ustar) of regular files in one gzip stream, readable by any tar program.

Only one form of each header is written, and only that form is read: what differs from it in a single byte is refused.
So links, devices, folders, absolute names, ``..``, long-name records, sparse files and base-256 sizes have no way in,
and no two readers can disagree on what a bundle holds. A name is lower-case ASCII without folders; none comes twice.

Bounds hold before anything is kept: so many files, bytes a file, bytes in all; inflating stops at them. The reader
never raises on any bytes; it says once what is wrong (`Broken`) and takes nothing more.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from typing import Final

BLOCK: Final = 512
MAX_FILES: Final = 24
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_TOTAL_BYTES: Final = 12 * 1024 * 1024
# Of the compressed file. Logs shrink to a tenth; noise does not shrink, and is cut by the agent.
MAX_ARCHIVE_BYTES: Final = 8 * 1024 * 1024
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}(?:\.[a-z0-9_-]{1,12}){0,3}", re.ASCII)
CLOSING: Final = bytes(2 * BLOCK)

_SIZE = slice(124, 136)
_OCTAL = re.compile(rb"[0-7]{11}\0")
_INFLATE_BYTES: Final = 64 * 1024
_GZIP: Final = 31
_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class Begun:
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Data:
    octets: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The file that was begun last is whole."""


@dataclass(frozen=True, slots=True)
class Broken:
    """``code`` for programs; ``detail`` says what was expected and what came, in words without foreign text."""

    code: str
    detail: str


Event = Begun | Data | Ended | Broken


def header(name: str, size: int) -> bytes:
    """The one form of a header. Raises ValueError for a name or a size that no bundle has."""
    if NAME.fullmatch(name) is None or not 0 <= size <= MAX_FILE_BYTES:
        raise ValueError(f"expected a plain name and at most {MAX_FILE_BYTES} bytes, came {name[:80]!r} with {size}")
    fields = (
        name.encode("ascii").ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        b"%011o\0" % size + b"%011o\0" % 0,
        b" " * 8 + b"0" + bytes(100) + b"ustar\x0000",
        bytes(BLOCK - 265),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


class Packer:
    """Compresses as it goes; what it answers is to be written in that order. The same files make the same bytes."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._size = 0

    def begin(self, name: str, size: int) -> bytes:
        self._size = size
        return self._deflate.compress(header(name, size))

    def data(self, octets: bytes) -> bytes:
        return self._deflate.compress(octets)

    def end(self) -> bytes:
        return self._deflate.compress(padding(self._size))

    def finish(self) -> bytes:
        return self._deflate.compress(CLOSING) + self._deflate.flush()


def _inflater() -> zlib._Decompress:
    return zlib.decompressobj(_GZIP)


@dataclass(slots=True)
class Reader:
    """Feed it the file as it comes; ``finish`` says whether that was all of it.

    Holds at most what one call brings, inflated in pieces, and one header.
    """

    is_over: bool = False
    broken: Broken | None = None
    _inflate: zlib._Decompress = field(default_factory=_inflater)
    _held: bytes = b""
    _left: int = 0  # of the file that is being read
    _pad: int = 0
    _is_in_file: bool = False
    _closing: int = 0
    _total: int = 0
    _archive: int = 0
    _names: set[str] = field(default_factory=set)

    def feed(self, chunk: bytes) -> list[Event]:
        if self.broken is not None:
            return []
        events: list[Event] = []
        self._archive += len(chunk)
        if self._archive > MAX_ARCHIVE_BYTES:
            return [self._wrong("archive_too_large", f"expected at most {MAX_ARCHIVE_BYTES} bytes")]
        rest = chunk
        while self.broken is None:
            if self._inflate.eof:
                if rest:
                    events.append(self._wrong("archive_trailing", "expected nothing behind the compressed data"))
                break
            try:
                plain = self._inflate.decompress(rest, _INFLATE_BYTES)
            except zlib.error:
                events.append(self._wrong("archive_damaged", "expected gzip, came something else or damaged data"))
                break
            rest = self._inflate.unconsumed_tail or self._inflate.unused_data
            self._held += plain
            while self._step(events):
                pass
            if not rest and len(plain) < _INFLATE_BYTES:
                break
        return events

    def finish(self) -> Broken | None:
        """None: it was whole."""
        if self.broken is None and not (self.is_over and self._inflate.eof):
            self._wrong("archive_cut", "expected a whole archive, came its beginning")
        return self.broken

    def _step(self, events: list[Event]) -> bool:
        """Whether there was enough to go on with."""
        if self.broken is not None:
            return False
        if self._left:
            return self._pass_on(events)
        if self._is_in_file:
            self._is_in_file = False
            events.append(Ended())
            return True
        if self._pad:
            return self._skip_padding(events)
        if len(self._held) < BLOCK:
            return False
        self._block(events)
        return True

    def _pass_on(self, events: list[Event]) -> bool:
        piece, self._held = self._held[: self._left], self._held[self._left :]
        self._left -= len(piece)
        if piece:
            events.append(Data(piece))
        return bool(piece)

    def _skip_padding(self, events: list[Event]) -> bool:
        piece, self._held = self._held[: self._pad], self._held[self._pad :]
        self._pad -= len(piece)
        if piece.strip(b"\0"):
            events.append(self._wrong("archive_form", "expected zeros behind a file, came something else"))
        return bool(piece)

    def _block(self, events: list[Event]) -> None:
        block, self._held = self._held[:BLOCK], self._held[BLOCK:]
        if self.is_over:
            events.append(self._wrong("archive_trailing", "expected nothing behind the closing blocks"))
        elif not block.strip(b"\0"):
            self._closing += 1
            self.is_over = self._closing == len(CLOSING) // BLOCK
        elif self._closing:
            events.append(self._wrong("archive_form", "expected two closing blocks, came one"))
        else:
            events.append(self._header(block))

    def _header(self, block: bytes) -> Begun | Broken:
        name, octal = block[:100].rstrip(b"\0").decode("ascii", "replace"), block[_SIZE]
        if _OCTAL.fullmatch(octal) is None or NAME.fullmatch(name) is None:
            return self._wrong("archive_form", f"file {len(self._names) + 1}: expected a regular file of a plain name")
        size = int(octal[:-1], 8)
        if size > MAX_FILE_BYTES or self._total + size > MAX_TOTAL_BYTES or len(self._names) >= MAX_FILES:
            limits = f"{MAX_FILES} files, {MAX_FILE_BYTES} bytes a file, {MAX_TOTAL_BYTES} in all"
            return self._wrong("archive_too_large", f"expected at most {limits}")
        if block != header(name, size):
            return self._wrong("archive_form", f"file {len(self._names) + 1}: expected a regular file of the one form")
        if name in self._names:
            return self._wrong("archive_duplicate", f"file {len(self._names) + 1}: expected each name once")
        self._names.add(name)
        self._total += size
        self._left, self._pad, self._is_in_file = size, -size % BLOCK, True
        return Begun(name, size)

    def _wrong(self, code: str, detail: str) -> Broken:
        self.broken = Broken(code, detail)
        return self.broken
