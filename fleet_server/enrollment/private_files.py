"""Files that only their owner reads: mode 0600 from the first byte, replaced whole, in folders of mode 0700."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from fleet_server.enrollment.errors import DataFolderUnusable


def make_private_dir(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except (FileExistsError, NotADirectoryError) as error:
        raise DataFolderUnusable(f"{path} cannot be made: a file is in the way") from error
    except OSError as error:
        raise DataFolderUnusable(f"{path} cannot be made: {error.strerror}") from error
    return path


def write_private(path: Path, content: bytes | str) -> None:
    """Readers see the old file or the new one, never a part; a file that has this content already is left alone."""
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        _replace(path, data)
    except OSError as error:
        raise DataFolderUnusable(f"{path} cannot be written: {error.strerror}") from error


def read_or_make_seed(path: Path) -> bytes:
    """32 secret random bytes, kept as hexadecimal; made at the first call."""
    if not path.exists():
        write_private(path, secrets.token_bytes(32).hex() + "\n")
    try:
        seed = bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError) as error:
        raise DataFolderUnusable(f"{path} cannot be read as a seed: expected 64 hexadecimal digits") from error
    if len(seed) != 32:
        raise DataFolderUnusable(f"{path} holds {len(seed)} bytes, expected 32")
    return seed


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
