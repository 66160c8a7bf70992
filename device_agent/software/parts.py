"""Target files as they come: in ranges, taken up where they stopped, also after the agent was killed.

A part is named by the hash that the whole must have, so nothing else is ever taken up from it. It is on disk every
`SYNC_BYTES`; more than the whole is never kept. Whether it is the right file is left to `repository`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Protocol

from device_agent.software.errors import SoftwareRefused, SoftwareUnreachable

CHUNK: Final = 64 * 1024
SYNC_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """``offset``: where ``chunks`` begin in the file."""

    status: int
    offset: int
    chunks: Iterator[bytes]


class Source(Protocol):
    """Where files come from. Raises ``SoftwareUnreachable``, also while its chunks are read."""

    def fetch(self, path: str, offset: int) -> AbstractContextManager[Answer]: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """``spend``: asked before each chunk with its bytes; raises what stands in the way. ``said``: how much is here."""

    folder: Path
    source: Source
    spend: Callable[[int], None]
    said: Callable[[int, int], None]

    def place(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.part"

    @contextmanager
    def whole(self, path: str, length: int) -> Iterator[IO[bytes]]:
        """The file from its beginning, once as many bytes as it has are here."""
        sha256 = path.rpartition("/")[2].partition(".")[0]
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self.place(sha256)
        if place.exists() and place.stat().st_size > length:
            place.unlink()
        with place.open("ab") as file:
            if file.tell() < length:
                self._fill(file, path, length)
            os.fsync(file.fileno())
        with place.open("rb") as file:
            yield file

    def _fill(self, file: IO[bytes], path: str, length: int) -> None:
        with self.source.fetch(path, file.tell()) as answer:
            if answer.status not in {200, 206}:
                raise SoftwareUnreachable(f"the server answered {answer.status} for {path[:120]}")
            if answer.offset != file.tell():
                file.truncate(answer.offset)
                file.seek(0, os.SEEK_END)
            unsynced = 0
            for chunk in answer.chunks:
                if file.tell() + len(chunk) > length:
                    file.truncate(0)
                    raise SoftwareRefused(f"{path[:120]}: expected {length} bytes, the server sends more")
                self.spend(len(chunk))
                file.write(chunk)
                unsynced += len(chunk)
                if unsynced >= SYNC_BYTES:
                    file.flush()
                    os.fsync(file.fileno())
                    unsynced = 0
                self.said(file.tell(), length)
            file.flush()
        if file.tell() < length:
            raise SoftwareUnreachable(f"{path[:120]}: cut off after {file.tell()} of {length} bytes")
