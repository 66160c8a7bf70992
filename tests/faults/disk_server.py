"""A folder on the modelled disk, by FUSE, in a process of its own: `python -m tests.faults.disk_server FOLDER LOG`.

Every step that reaches the disk goes into LOG, in the order in which the disk saw it. Orders come as extended
attributes of the folder: ``user.fault`` (what is to fail, see `Fault`) and ``user.note``. SQLite's shared memory file
is neither counted nor logged: it is memory, and worth nothing after a start.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO, Final

import mfusepy
import msgspec

from tests.faults.disk import Disk, Name, Note, Resize, Step, Sync, SyncFolder, Write
from tests.faults.fault import LENGTH, Fault, Trouble

# Plenty, unless a fault says that somebody else has filled the disk.
ROOM_BYTES: Final = 64 * 1024 * 1024
BLOCK_BYTES: Final = 4096
_WRITE_ERRORS: Final = {Trouble.WRITE_FAILS: errno.EIO, Trouble.WRITE_FINDS_NO_ROOM: errno.ENOSPC}
_MEMORY: Final = "-shm"


class DiskServer(mfusepy.Operations):  # type: ignore[misc]  # the library carries no types
    use_ns = True

    def __init__(self, log: BinaryIO) -> None:
        self._disk = Disk()
        self._log = log
        self._modes: dict[int, int] = {}
        self._memory: set[int] = set()
        self._fault = Fault(Trouble.NONE)
        self._room_bytes = ROOM_BYTES
        self._writes = 0
        self._syncs = 0

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2, "st_uid": os.getuid(), "st_gid": os.getgid()}
        inode = fh or self._inode(path)
        size = len(self._disk.seen(inode))
        mode = self._modes[inode]
        return {"st_mode": mode, "st_nlink": 1, "st_size": size, "st_uid": os.getuid(), "st_gid": os.getgid()}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *self._disk.names]

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        inode = len(self._modes) + 1
        self._modes[inode] = stat.S_IFREG | stat.S_IMODE(mode)
        if path.endswith(_MEMORY):
            self._memory.add(inode)
        self._done(Name(path[1:], inode))
        return inode

    def mknod(self, path: str, mode: int, dev: int) -> int:
        # A socket: a place where processes meet, with nothing in it.
        inode = len(self._modes) + 1
        self._modes[inode] = mode
        self._done(Name(path[1:], inode))
        return 0

    def open(self, path: str, flags: int) -> int:
        return self._inode(path)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return bytes(self._disk.seen(fh)[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        if fh not in self._memory:
            self._writes += 1
            self._may_fail(self._writes)
            self._find_room(fh, offset + len(data))
        self._done(Write(fh, offset, bytes(data)))
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        self._done(Resize(fh or self._inode(path), length))
        return 0

    def fallocate(self, path: str, mode: int, offset: int, size: int, fh: int) -> int:
        length = max(offset + size, len(self._disk.seen(fh)))
        self._find_room(fh, length)
        self._done(Resize(fh, length))
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        if fh in self._memory:
            return 0
        self._syncs += 1
        fails = self._fault.trouble is Trouble.SYNC_FAILS and self._syncs == self._fault.at
        self._done(Sync(fh, is_kept=not fails))
        if fails:
            raise mfusepy.FuseOSError(errno.EIO)
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._done(SyncFolder())
        return 0

    def rename(self, old: str, new: str) -> int:
        inode = self._inode(old)
        self._done(Name(new[1:], inode))
        self._done(Name(old[1:], None))
        return 0

    def unlink(self, path: str) -> int:
        self._inode(path)
        self._done(Name(path[1:], None))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        if path == "/":
            return 0
        inode = self._inode(path)
        self._modes[inode] = stat.S_IFMT(self._modes[inode]) | stat.S_IMODE(mode)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        free = max(self._room_bytes - self._disk.used_bytes(), 0) // BLOCK_BYTES
        blocks = self._room_bytes // BLOCK_BYTES
        return {"f_bsize": BLOCK_BYTES, "f_frsize": BLOCK_BYTES, "f_blocks": blocks, "f_bfree": free, "f_bavail": free}

    def setxattr(self, path: str, name: str, value: bytes, options: int, position: int = 0) -> int:
        match name:
            case "user.fault":
                self._fault = msgspec.json.decode(value, type=Fault)
                self._writes = self._syncs = 0
                self._room_bytes = ROOM_BYTES
            case "user.note":
                self._done(Note(value.decode()))
            case _:
                raise mfusepy.FuseOSError(errno.ENOTSUP)
        return 0

    def _inode(self, path: str) -> int:
        inode = self._disk.names.get(path[1:])
        if inode is None:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return inode

    def _may_fail(self, number: int) -> None:
        if number == self._fault.at and self._fault.trouble is Trouble.DISK_FILLS:
            self._room_bytes = self._disk.used_bytes()
        if number in {self._fault.at, self._fault.at + 1} and self._fault.trouble in _WRITE_ERRORS:
            raise mfusepy.FuseOSError(_WRITE_ERRORS[self._fault.trouble])

    def _find_room(self, inode: int, length: int) -> None:
        growth = length - len(self._disk.seen(inode))
        if growth > 0 and self._disk.used_bytes() + growth > self._room_bytes:
            raise mfusepy.FuseOSError(errno.ENOSPC)

    def _done(self, step: Step) -> None:
        self._disk.apply(step)
        is_memory = step.inode in self._memory if isinstance(step, Write | Resize | Sync | Name) else False
        if is_memory or (isinstance(step, Name) and step.name.endswith(_MEMORY)):
            return
        encoded = msgspec.msgpack.encode(step)
        self._log.write(LENGTH.pack(len(encoded)) + encoded)


def main() -> None:
    folder, log = sys.argv[1:]
    # Unbuffered: the test reads it while the disk is in use.
    with Path(log).open("wb", buffering=0) as file:
        mfusepy.FUSE(
            DiskServer(file), folder, foreground=True, nothreads=True, hard_remove=True, fsname="disk-under-test"
        )


if __name__ == "__main__":
    main()
