"""Writes a bundle: each source is scrubbed before it touches the disk, then packed; the manifest comes last.

Memory holds a piece of a source at a time. A file's size stands before it in the archive, so it is written scrubbed
into a file without a name first, which is gone with the process. The same sources make the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import msgspec

from device_agent.core.bundle_draft import Draft
from protocol.bundles.archive import MAX_ARCHIVE_BYTES, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, Packer
from protocol.bundles.manifest import FORMAT, MANIFEST, Absence, File, LeftOut, Manifest
from protocol.bundles.texts import LineDecoder
from protocol.version import RELEASE

_PIECE: Final = 64 * 1024
# For the manifest and what deflate adds where nothing shrinks.
_RESERVE_BYTES: Final = 128 * 1024


@dataclass(frozen=True, slots=True)
class Opened:
    """``cut``: why its beginning is not read."""

    texts: Iterator[str]
    cut: Absence | None = None


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    open: Callable[[], Opened | Absence]


@dataclass(slots=True)
class Patience:
    """Until when, and whether anybody still wants it."""

    seconds: float
    progress: Callable[[int, str], None] = lambda _percent, _note: None
    is_cancelled: Callable[[], bool] = lambda: False
    monotonic: Callable[[], float] = time.monotonic
    begun_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun_s = self.monotonic()

    @property
    def is_over(self) -> bool:
        return self.is_cancelled() or self.monotonic() - self.begun_s > self.seconds

    @property
    def took_ms(self) -> int:
        return min(round((self.monotonic() - self.begun_s) * 1000), 3_600_000)


@dataclass(slots=True)
class _Out:
    file: IO[bytes]
    size: int = 0
    sha256: str = ""
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def write(self, octets: bytes) -> None:
        self.file.write(octets)
        self.size += len(octets)
        self._hash.update(octets)

    def finish(self) -> None:
        self.sha256 = self._hash.hexdigest()


@dataclass(frozen=True, slots=True)
class Written:
    manifest: Manifest
    size: int
    sha256: str


def write_bundle(
    target: IO[bytes], sources: Sequence[Source], link: str, made_at_ms: int, scratch: Path, patience: Patience
) -> Written:
    """``scratch``: where files without a name may be made. Raises OSError when there is no room for them."""
    packer, out = Packer(), _Out(target)
    files: list[File] = []
    left_out: list[LeftOut] = []
    for number, source in enumerate(sources[: MAX_FILES - 1]):
        patience.progress(100 * number // len(sources), source.name)
        if patience.is_over:
            left_out.append(LeftOut(source.name, Absence.OUT_OF_TIME))
            continue
        room = MAX_TOTAL_BYTES - _RESERVE_BYTES - sum(one.size for one in files)
        room = min(room, MAX_ARCHIVE_BYTES - _RESERVE_BYTES - out.size)
        added = _add(source, packer, out, scratch, patience, room)
        if isinstance(added, File):
            files.append(added)
        else:
            left_out.append(LeftOut(source.name, added))
    manifest = Manifest(FORMAT, link, RELEASE, made_at_ms, patience.took_ms, files, left_out)
    octets = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    for piece in (packer.begin(MANIFEST, len(octets)), packer.data(octets), packer.end(), packer.finish()):
        out.write(piece)
    out.finish()
    return Written(manifest, out.size, out.sha256)


def _add(source: Source, packer: Packer, out: _Out, scratch: Path, patience: Patience, room: int) -> File | Absence:
    try:
        opened = source.open()
    except OSError:
        return Absence.UNREADABLE
    if isinstance(opened, Absence):
        return opened
    with tempfile.TemporaryFile(dir=scratch) as kept:
        draft = _drafted(source.name, opened, kept, patience, room)
        if draft is None:
            return Absence.UNREADABLE
        kept.seek(0)
        out.write(packer.begin(source.name, draft.size))
        while piece := kept.read(_PIECE):
            out.write(packer.data(piece))
        out.write(packer.end())
    return draft.noted


def _drafted(name: str, opened: Opened, kept: IO[bytes], patience: Patience, room: int) -> Draft | None:
    draft = Draft(name, opened.cut, min(room, MAX_FILE_BYTES))
    try:
        for text in opened.texts:
            octets = draft.feed(text)
            kept.write(octets)
            if draft.is_full:
                break
            if patience.is_over:
                draft.stop(Absence.OUT_OF_TIME)
                break
    except UnreadableSource:
        return None
    kept.write(draft.finish())
    return draft


class UnreadableSource(Exception):
    """The file could be opened, but not read."""


def text_source(name: str, text: Callable[[], str | None]) -> Source:
    def open_it() -> Opened | Absence:
        made = text()
        return Absence.NOT_ANSWERED if made is None else Opened(iter((made,)))

    return Source(name, open_it)


def file_source(name: str, path: Path | None, limit_bytes: int) -> Source:
    """The end of a log file, from the beginning of a line on."""

    def open_it() -> Opened | Absence:
        if path is None:
            return Absence.NOT_CONFIGURED
        try:
            # A pipe would hold whoever opens it until somebody writes.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return Absence.MISSING
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            os.close(handle)
            return Absence.UNREADABLE
        skipped = max(status.st_size - limit_bytes, 0)
        return Opened(_lines_of(handle, skipped, limit_bytes), Absence.TOO_LARGE if skipped else None)

    return Source(name, open_it)


def _lines_of(handle: int, skipped: int, limit_bytes: int) -> Iterator[str]:
    decoder = LineDecoder()
    with os.fdopen(handle, "rb", buffering=0) as file:
        try:
            # One byte before tells whether what follows begins a line.
            file.seek(max(skipped - 1, 0))
            is_inside = skipped > 0
            left = limit_bytes + 1
            while left > 0 and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                if is_inside:
                    _, end, piece = piece.partition(b"\n")
                    is_inside = not end
                yield decoder.feed(piece)
        except OSError as error:
            raise UnreadableSource from error
    yield decoder.finish()
