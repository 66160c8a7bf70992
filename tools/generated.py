"""A generated document: written, or compared with what is there."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(target: Path, text: str) -> int:
    """The exit code: with ``--check`` on the command line nothing is written, and 1 says that the file is stale."""
    if "--check" not in sys.argv[1:]:
        target.write_text(text, "utf-8")
        return 0
    if target.is_file() and target.read_text("utf-8") == text:
        return 0
    print(f"{target.name} is not what its sources make of it: run 'make generate'")
    return 1
