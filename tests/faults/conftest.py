from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

_MEMORY: Final = Path("/dev/shm")


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """In memory where there is such a thing: what the modelled disk left is looked at here, over and over."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        yield Path(folder)
