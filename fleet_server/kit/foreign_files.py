"""Files that somebody else put together: names, folders and archives, judged before anything of them is opened.

Invariants: nothing outside the folder is opened or written, by no name and by no link; only regular files are read or
made, each as its owner's alone; names that one file system takes for the same are refused, because the second would
take the first one's place; how many files and how many bytes come out is bounded, whatever an archive says of itself.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
import unicodedata
import zlib
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar, Protocol

from fleet_server.errors import FleetError

MAX_NAME_CHARS = 240
MAX_DEPTH = 16
_PIECE = 1024 * 1024
_BLOCK = tarfile.BLOCKSIZE
_GZIP = b"\x1f\x8b"
# What archives say beside names: times in fractions of a second, whose file it was.
_MAX_EXTRA_BYTES = 64 * 1024
# In it, what would change which file comes, and how long it is.
_CHANGING = (b" path=", b" linkpath=", b" size=", b" GNU.sparse")
# Folders, and what is said beside files.
_ENTRIES_A_FILE = 4
# Nothing but an end is due after an empty block; where packers fill up to a whole record.
_MAX_FILLING_BYTES = 1024 * 1024


class ForeignFileRefused(FleetError):
    code: ClassVar[str] = "foreign_file_refused"


@dataclass(frozen=True, slots=True)
class Limits:
    files: int
    total_bytes: int


class _Readable(Protocol):
    def read(self, count: int, /) -> bytes: ...


def safe_name(text: str) -> PurePosixPath:
    """A place below a folder, by a name that every file system and every page shows as it is. Raises
    ``ForeignFileRefused``.
    """
    place = PurePosixPath(text)
    parts = text.split("/")
    is_bounded = 0 < len(text) <= MAX_NAME_CHARS and len(parts) <= MAX_DEPTH
    if not is_bounded or not text.isprintable() or "\\" in text or place.is_absolute() or not _all_plain(parts):
        raise ForeignFileRefused(f"expected the name of a file below the folder, came {text[:80]!r}")
    return place


class DifferentNames:
    """Names of which no two are one on a file system that folds case or accents."""

    def __init__(self) -> None:
        self._seen: dict[str, PurePosixPath] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, name: PurePosixPath) -> None:
        """Raises ``ForeignFileRefused``."""
        folded = unicodedata.normalize("NFC", name.as_posix()).casefold()
        if folded in self._seen:
            raise ForeignFileRefused(f"{self._seen[folded]} and {name} are the same name on some file systems")
        self._seen[folded] = name

    def all(self) -> list[PurePosixPath]:
        return list(self._seen.values())


def open_below(folder: Path, name: PurePosixPath) -> BufferedReader:
    """Raises ``ForeignFileRefused`` for what is no regular file, or lies behind a link; ``OSError`` as `open` does."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in name.parts[:-1]:
            further = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = further
        # A pipe without a writer must not hold whoever opens it.
        handle = os.open(name.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ForeignFileRefused(f"{name}: expected a regular file")
    return os.fdopen(handle, "rb")


def copy_below(folder: Path, name: PurePosixPath, target: Path) -> None:
    """As a new file of its owner alone."""
    with open_below(folder, name) as source, _new(target) as made:
        shutil.copyfileobj(source, made, _PIECE)
        made.flush()
        os.fsync(made.fileno())


def unpack(archive: Path, target: Path, limits: Limits) -> list[PurePosixPath]:
    """A tar archive, plain or by gzip, into an empty folder. Raises ``ForeignFileRefused``; what was written until then
    is the caller's to remove.
    """
    with archive.open("rb") as packed:
        is_gzip = packed.read(2) == _GZIP
        packed.seek(0)
        try:
            if is_gzip:
                with gzip.GzipFile(fileobj=packed) as plain:
                    return _unpack(plain, target, limits)
            return _unpack(packed, target, limits)
        except (tarfile.HeaderError, zlib.error, gzip.BadGzipFile, EOFError) as error:
            raise ForeignFileRefused(f"{archive.name}: expected a tar archive: {error}") from error


def _all_plain(parts: list[str]) -> bool:
    return all(part not in {"", ".", ".."} for part in parts)


def _unpack(plain: _Readable, target: Path, limits: Limits) -> list[PurePosixPath]:
    names, left, entries = DifferentNames(), limits.total_bytes, 0
    while (block := _exactly(plain, _BLOCK)) != bytes(_BLOCK):
        entry = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        entries += 1
        if entries > _ENTRIES_A_FILE * limits.files:
            raise ForeignFileRefused(f"expected at most {limits.files} files, came much beside them")
        if entry.type in {tarfile.XHDTYPE, tarfile.XGLTYPE}:
            _pass_extra(plain, entry)
            continue
        if entry.isdir():
            # Folders come into being with their files; a packer's own "." is none of ours.
            continue
        if entry.type not in {tarfile.REGTYPE, tarfile.AREGTYPE}:
            raise ForeignFileRefused(f"{entry.name[:80]!r}: expected a regular file or a folder")
        name = safe_name(entry.name.removeprefix("./"))
        left -= entry.size
        if entry.size < 0 or left < 0 or len(names) >= limits.files:
            raise ForeignFileRefused(f"expected at most {limits.files} files of {limits.total_bytes} bytes together")
        names.add(name)
        _write(plain, target / name, entry.size)
    if len(plain.read(_MAX_FILLING_BYTES)) == _MAX_FILLING_BYTES:
        raise ForeignFileRefused("expected the end of the archive, came more")
    return names.all()


def _pass_extra(plain: _Readable, entry: tarfile.TarInfo) -> None:
    if not 0 <= entry.size <= _MAX_EXTRA_BYTES:
        raise ForeignFileRefused(f"expected at most {_MAX_EXTRA_BYTES} bytes beside a file")
    said = _exactly(plain, _filled(entry.size))[: entry.size]
    if any(word in said for word in _CHANGING):
        raise ForeignFileRefused("expected names of at most 100 characters and no sparse files")


def _write(plain: _Readable, path: Path, size: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _new(path) as made:
        left = size
        while left:
            piece = _exactly(plain, min(left, _PIECE))
            made.write(piece)
            left -= len(piece)
        made.flush()
        os.fsync(made.fileno())
    _exactly(plain, _filled(size) - size)


def _new(path: Path) -> IO[bytes]:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")
    except FileExistsError as error:
        raise ForeignFileRefused(f"{path.name}: expected each name once") from error


def _filled(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _exactly(plain: _Readable, count: int) -> bytes:
    parts, missing = [], count
    while missing:
        piece = plain.read(missing)
        if not piece:
            raise EOFError("cut short")
        parts.append(piece)
        missing -= len(piece)
    return b"".join(parts)
