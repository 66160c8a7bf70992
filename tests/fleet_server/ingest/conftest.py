"""A database that a worker and its test open side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.engines import sqlite_engine
from tests.support.fleet_rows import make_fleet


@pytest.fixture
def engine_on_file(sqlite_template: Path, tmp_path: Path) -> Iterator[Engine]:
    with sqlite_engine(sqlite_template, tmp_path) as opened:
        make_fleet(opened)
        yield opened
