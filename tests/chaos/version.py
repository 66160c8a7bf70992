"""Which product a run was of: a fingerprint of the code that a record meets on its way, so that runs of one product add
up however many commits, pages and words lie between them.

Comments, docstrings and the order of files do not count, nor do the parts of the server that no run touches.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from tests.chaos.processes import REPOSITORY

DIGITS: Final = 10
# Of runs from before versions were written down.
UNKNOWN: Final = "unknown"
_PACKAGES: Final = ("protocol", "device_agent", "fleet_server")
_UNTOUCHED: Final = ("console", "commands", "personal", "inspections", "live")
_DOCUMENTED: Final = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def product(root: Path = REPOSITORY) -> str:
    """Raises `SyntaxError` for what is no Python."""
    digest = hashlib.sha256()
    for path in sorted(_sources(root)):
        digest.update(f"{path.relative_to(root)}\0{_meaning(path.read_text('utf-8'))}\0".encode())
    return digest.hexdigest()[:DIGITS]


def _sources(root: Path) -> Iterator[Path]:
    for package in _PACKAGES:
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).parts
            if parts[0] != "fleet_server" or parts[1] not in _UNTOUCHED:
                yield path


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
