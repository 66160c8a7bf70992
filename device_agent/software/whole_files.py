"""Small files that are written whole or not at all, and JSON in them that may be from another version."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from protocol.codec import UNREADABLE

Kind = TypeVar("Kind")


def write_whole(path: Path, content: bytes) -> None:
    """On disk under its name when it returns. One writer a file."""
    fresh = path.with_name(f".{path.name}.new")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    put_in_place(fresh, path)


def put_in_place(fresh: Path, path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_json(path: Path, kind: type[Kind], absent: Kind) -> Kind:
    """``absent``: also for what cannot be read, which is as good as lost."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, *UNREADABLE):
        return absent
