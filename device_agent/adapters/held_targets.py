"""What lies here of the software repository: files under one folder, named as the repository names them.

Invariant: nothing outside the folder is ever opened, and a file is only hashed when it is as long as it should be.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from protocol.authorisations import Artifact

_NOT_LOOKED_AT: Final = "0" * 64


class HeldTargets:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def held(self, wanted: Artifact) -> Artifact | None:
        """What is there under the path of ``wanted``; None when there is no such file."""
        path = self._folder / wanted.path
        if path.is_symlink() or not path.resolve().is_relative_to(self._folder.resolve()):
            return None
        try:
            length = path.stat().st_size if path.is_file() else 0
            if length != wanted.length:
                return Artifact(wanted.path, length, _NOT_LOOKED_AT) if length else None
            with path.open("rb") as file:
                return Artifact(wanted.path, length, hashlib.file_digest(file, "sha256").hexdigest())
        except OSError:
            # It went away, or may not be read: then it is not in hand.
            return None
