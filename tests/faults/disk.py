"""A disk with a cache, as a model: what programs see, what is safe, and what a power cut leaves of the rest.

Rules: a write is safe once its file was synced after it, a name once its folder was; a sync that fails loses what it
should have kept, for good, though programs still see it, and the next sync says that all is well (Linux does so).
Of what was not synced a cut leaves nothing, all, or any part of it in 512-byte sectors, in any order; names are
as they were at some moment since the last sync of the folder, as journalling file systems do. A file without a name is
gone when its folder is synced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final, assert_never

import msgspec

SECTOR_BYTES: Final = 512
Image = dict[str, bytes]


class Write(msgspec.Struct, frozen=True, tag="write"):
    inode: int
    offset: int
    content: bytes


class Resize(msgspec.Struct, frozen=True, tag="resize"):
    inode: int
    size_bytes: int


class Sync(msgspec.Struct, frozen=True, tag="sync"):
    inode: int
    is_kept: bool


class Name(msgspec.Struct, frozen=True, tag="name"):
    """``name`` stands for ``inode`` from now on, or for nothing."""

    name: str
    inode: int | None


class SyncFolder(msgspec.Struct, frozen=True, tag="folder"):
    pass


class Note(msgspec.Struct, frozen=True, tag="note"):
    """What the program under test told its test at this moment; no part of the disk."""

    text: str


Step = Write | Resize | Sync | Name | SyncFolder | Note


class Leave(Enum):
    NOTHING = "nothing"
    ALL = "all"
    SOME = "some"


@dataclass(slots=True)
class _File:
    seen: bytearray = field(default_factory=bytearray)
    safe: bytearray = field(default_factory=bytearray)
    pending: list[Write | Resize] = field(default_factory=list)


class Disk:
    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self.names: dict[str, int] = {}
        # As they were after each step since the last sync of the folder, the first being safe.
        self._names_since: list[dict[str, int]] = [{}]
        self.notes: list[str] = []

    def apply(self, step: Step) -> None:
        match step:
            case Write() | Resize():
                file = self._file(step.inode)
                _change(file.seen, step)
                file.pending.append(step)
            case Sync():
                self._sync(self._file(step.inode), is_kept=step.is_kept)
            case Name():
                self._name(step)
            case SyncFolder():
                self._names_since = [dict(self.names)]
                self._files = {inode: self._file(inode) for inode in self.names.values()}
            case Note():
                self.notes.append(step.text)
            case _:
                assert_never(step)

    def seen(self, inode: int) -> bytearray:
        return self._file(inode).seen

    def used_bytes(self) -> int:
        return sum(len(self._file(inode).seen) for inode in self.names.values())

    def after_cut(self, leave: Leave, dice: Random) -> Image:
        """What is found when the power is back."""
        match leave:
            case Leave.NOTHING:
                names = self._names_since[0]
            case Leave.ALL:
                names = self._names_since[-1]
            case Leave.SOME:
                names = dice.choice(self._names_since)
            case _:
                assert_never(leave)
        return {name: self._left_of(self._file(inode), leave, dice) for name, inode in names.items()}

    def _file(self, inode: int) -> _File:
        return self._files.setdefault(inode, _File())

    def _name(self, step: Name) -> None:
        if step.inode is None:
            self.names.pop(step.name, None)
        else:
            self.names[step.name] = step.inode
        self._names_since.append(dict(self.names))

    @staticmethod
    def _sync(file: _File, *, is_kept: bool) -> None:
        if is_kept:
            for step in file.pending:
                _change(file.safe, step)
        file.pending.clear()

    @staticmethod
    def _left_of(file: _File, leave: Leave, dice: Random) -> bytes:
        if leave is Leave.NOTHING or not file.pending:
            return bytes(file.safe)
        left = bytearray(file.safe)
        for step in file.pending:
            if leave is Leave.ALL:
                _change(left, step)
            elif isinstance(step, Resize):
                if dice.random() < 0.5:
                    _change(left, step)
            else:
                for sector in _sectors(step):
                    if dice.random() < 0.5:
                        _change(left, sector)
        return bytes(left)


def _sectors(step: Write) -> list[Write]:
    """``step`` cut where the disk's sectors end."""
    ends = [
        *range(step.offset - step.offset % SECTOR_BYTES + SECTOR_BYTES, step.offset + len(step.content), SECTOR_BYTES)
    ]
    starts = [step.offset, *ends]
    return [
        Write(step.inode, start, step.content[start - step.offset : end - step.offset])
        for start, end in zip(starts, [*ends, step.offset + len(step.content)], strict=True)
    ]


def _change(content: bytearray, step: Write | Resize) -> None:
    size_bytes = step.size_bytes if isinstance(step, Resize) else step.offset
    if len(content) < size_bytes:
        content.extend(bytes(size_bytes - len(content)))
    if isinstance(step, Resize):
        del content[step.size_bytes :]
    else:
        content[step.offset : step.offset + len(step.content)] = step.content
