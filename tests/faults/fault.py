"""What a test orders the modelled disk to do wrong, and how the disk writes its log."""

from __future__ import annotations

import struct
from enum import Enum
from typing import Final

import msgspec

# Each step in the log stands behind its length.
LENGTH: Final = struct.Struct(">I")


class Trouble(Enum):
    NONE = "none"
    WRITE_FAILS = "write_fails"  # once, by EIO
    WRITE_FINDS_NO_ROOM = "write_finds_no_room"  # once, by ENOSPC
    SYNC_FAILS = "sync_fails"  # once, by EIO
    DISK_FILLS = "disk_fills"  # no file grows any more unless another gives way


class Fault(msgspec.Struct, frozen=True):
    """``trouble`` at the ``at``-th write (or sync) from now on."""

    trouble: Trouble
    at: int = 1
