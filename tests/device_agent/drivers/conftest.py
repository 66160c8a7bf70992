from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="session")
def zvt_vectors() -> Any:
    return json.loads((GOLDEN / "zvt_vectors.json").read_text(encoding="utf-8"))
