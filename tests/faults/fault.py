"""What a test orders the modelled disk to do wrong, and how the disk writes its log."""

from __future__ import annotations

import os
import struct
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

# Each step in the log stands behind its length.
LENGTH: Final = struct.Struct(">I")


class Trouble(Enum):
    NONE = "none"
    WRITE_FAILS = "write_fails"  # by EIO
    WRITE_FINDS_NO_ROOM = "write_finds_no_room"  # by ENOSPC
    SYNC_FAILS = "sync_fails"  # once, by EIO
    DISK_FILLS = "disk_fills"  # no file grows any more unless another gives way


class Fault(msgspec.Struct, frozen=True):
    """``trouble`` at the ``at``-th write (or sync) from now on.

    A write fails twice in a row: the kernel makes a short write of one that failed in the middle, and programs try the
    rest of it at once.
    """

    trouble: Trouble
    at: int = 1


def note(folder: Path, text: str) -> None:
    """Takes its place among the steps of the disk that ``folder`` is on."""
    os.setxattr(folder, "user.note", text.encode())
